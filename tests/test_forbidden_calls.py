"""Nothing is unpickled, nothing is evaluated, no shell is asked: read from the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {
    "eval", "exec", "os.system", "os.popen", "torch.load", "torch.save", "torch.jit.load", "torch.hub.load",
    "pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load",
}  # fmt: skip
SAFE_YAML = {
    "SafeLoader",
    "CSafeLoader",
    "_Loader",
}  # `_Loader` is core.plain's name for the faster of the two


def offences(source: str) -> list[str]:
    """What a file does that it must not, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in MODULES:
                found.append((node.lineno, node.module))
            found += [
                (node.lineno, f"{node.module}.{a.name}")
                for a in node.names
                if f"{node.module}.{a.name}" in CALLS
            ]
        elif isinstance(node, ast.Call):
            name, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in CALLS or keywords.get("allow_pickle") == "True" or keywords.get("shell") == "True":
                found.append((node.lineno, ast.unparse(node)[:80]))
            if name == "yaml.load" and keywords.get("Loader", "").split(".")[-1] not in SAFE_YAML:
                found.append((node.lineno, ast.unparse(node)[:80]))
    return [f"line {line}: {what}" for line, what in found]


FILES = [path for folder in ("robopolicy", "sim") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_file_is_clean(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "from dill import loads",
        "from torch import load",
        "torch.load(p)",
        "np.load(p, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(c, shell=True)",
        "yaml.load(f)",
        "yaml.load(f, Loader=yaml.UnsafeLoader)",
    ],
)
def test_the_check_can_fail(bad: str) -> None:
    assert offences(bad)


def test_the_check_spares_what_only_looks_alike() -> None:
    assert (
        offences("model.eval()\nnp.load(p, allow_pickle=False)\nyaml.load(f, Loader=yaml.SafeLoader)") == []
    )

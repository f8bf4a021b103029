"""Configurations from strangers: nothing foreign is built, nor even imported (reliability S04, S05)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robopolicy.core.build import build
from robopolicy.core.errors import ConfigError
from robopolicy.core.plain import MAX_BYTES, check_plain, read_json, read_yaml

FOREIGN = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "functools.partial",
    "builtins.eval",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
    "logging.os.system",
    "antigravity.webbrowser",
    "torch.load",
    "numpy.load",
    "robopolicy.core.checkpoint.save",
    "robopolicy.core.build.build",
    "robopolicy.data.writer.DatasetWriter",
    "robopolicy.policiesx.flow.FlowPolicy",
    "tiny_components.learners.system",  # an alias of os.system
    "tiny_components.learners.partial",  # of functools.partial
    "tiny_components.learners.copy",  # a module
    "tiny_components.learners.copy.copy",  # through a module
    "tiny_components.learners.torch.load",
    "tiny_components.learners.Learner",  # allowed where it is defined, and that is elsewhere
    "tiny_components.learners._Hidden",
    "tiny_components.learners.TinyLearner.__init__",
    "tiny_components.learners.TinyLearner.__init__.__globals__",
    "tiny_components.learners.TinyLearner.groups",
    "tiny_components.__builtins__.eval",
    "robopolicy.policies.flow.nn.Linear",
    "robopolicy.policies.flow.Callable",
    "..os.system",
    "os",
    "",
    "robopolicy",
    "robopolicy.policies.flow",
    "robopolicy.policies.flow FlowPolicy",
    5,
    ["os.system"],
    None,
]


@pytest.mark.parametrize("target", FOREIGN, ids=str)
def test_foreign_targets_are_refused(target: Any) -> None:
    with pytest.raises(ConfigError, match=r"is refused|there is no module|has no '|a dotted name is meant"):
        build({"_target_": target})


@pytest.mark.parametrize(
    "wrap", [lambda n: {"head": n}, lambda n: {"name": [[n]]}, lambda n: {"name": {"a": n}}]
)
def test_nested_foreign_targets_are_refused_before_anything_is_built(wrap: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    node = {"_target_": "os.system", "command": f"touch {marker}"}
    with pytest.raises(ConfigError, match=r"os\.system"):
        build({"_target_": "tiny_components.learners.TinyLearner", **wrap(node)})
    assert not marker.exists()


def test_nothing_foreign_is_imported_while_resolving(tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\ndef make(): pass\n")
    code = """
import sys
from robopolicy.core.build import build
from robopolicy.core.errors import ConfigError
before = set(sys.modules)
for target in ["stranger.make", "antigravity.webbrowser.open", "turtle.Turtle", "robopolicy.cli.main.main"]:
    try:
        build({"_target_": target})
    except ConfigError:
        continue
    raise SystemExit("built " + target)
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"hydra": {"run": {}}}, "hydra"),
        ({"a": [{"hydra": 1}]}, r"config\.a\[0\]\.hydra"),
        ({"a": "${oc.env:HOME}"}, "interpolation"),
        ({"${x}": 1}, "interpolation"),
        ({1: 2}, "key 1"),
        ({"a": object()}, "object"),
        ({"a": {1, 2}}, "set"),
        ({"a": list(range(30_000))}, "more than"),
    ],
)
def test_only_plain_values_pass(config: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_plain(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system ['touch marker']", "tag"),
        ("a: !!python/name:os.system", "tag"),
        ("a: !custom 1", "tag"),
        ("a: !!float 1", "tag"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]", "anchors"),
        ("a: ${now:}", "interpolation"),
        ("hydra:\n  x: 1", "hydra"),
        ("a: 2026-01-01", "date"),
        ("a: [", "not YAML"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("[" * 10_000, "deep"),
        ("a: " * 3 + "\x00", "not YAML"),
        ("a: '" + "x" * MAX_BYTES + "'", "larger"),
    ],
)
@pytest.mark.timeout(20)  # a bomb would take for ever
def test_hostile_yaml_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_yaml(path)


def test_deep_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="not JSON"):
        read_json(path)

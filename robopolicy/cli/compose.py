"""From the words of a command line to a plain configuration, and from a sweep to several.

A single run composes with Hydra and stays in this process: a mistake is one message and exit status 2. With
`-m` the same function runs under `hydra.main`, so every sweeper and launcher works. Nodes that carry
`_target_` are checked against their constructor's signature where they are built, so a new key is let through
here.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopolicy.core.errors import ConfigError, UnknownNameError, UserError
from robopolicy.core.share import share

_OVERRIDE = re.compile(r"^(?:~[\w./@]+|\+{0,2}~?[\w./@-]+=)")


@dataclass(frozen=True)
class Words:
    """A command line, sorted: positional arguments, `key=value` overrides and flags."""

    positional: tuple[str, ...]
    overrides: tuple[str, ...]
    flags: frozenset[str]

    def some(self, usage: str, *, least: int, most: int) -> tuple[str, ...]:
        """The positional arguments; ConfigError shows `usage` when there are too few or too many."""
        if not least <= len(self.positional) <= most:
            raise ConfigError(f"got {list(self.positional) or 'no arguments'}; usage: robopolicy {usage}")
        return self.positional


def split(args: Sequence[str], *, flags: Sequence[str] = ()) -> Words:
    """Sort a command line.

    Args:
        args: the words after the command.
        flags: options that this command knows, for example `--compare`.

    Raises:
        UnknownNameError: an option that is not known.
    """
    known = {"-m": "-m", "--multirun": "-m", **{flag: flag for flag in flags}}
    positional, overrides, seen = [], [], set()
    for word in args:
        if word.startswith("-"):
            if word not in known:
                raise UnknownNameError("option", word, [*known, "--help"])
            seen.add(known[word])
        elif _OVERRIDE.match(word) and not Path(word).exists():
            overrides.append(word)
        else:
            positional.append(word)
    return Words(tuple(positional), tuple(overrides), frozenset(seen))


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain, resolved configuration `configs/<name>.yaml` with overrides.

    Raises:
        ConfigError: a key, a group option or an override that does not exist or cannot be read.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with hydra.initialize_config_dir(config_dir=str(share("configs")), version_base="1.3"):
            config = hydra.compose(config_name=name, overrides=_readable_to_hydra(name, overrides))
            return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]
    except (HydraException, OmegaConfBaseException) as error:
        raise _readable(error, name) from error


def launch(name: str, words: Words, function: Callable[[dict[str, Any]], Any], *extra: str) -> None:
    """Call `function` with the composed configuration: once, or with `-m` once per combination.

    Args:
        name: of the configuration.
        words: of the command line.
        function: takes the plain configuration.
        extra: further overrides, for positional arguments.
    """
    overrides = (*extra, *words.overrides)
    if "-m" not in words.flags:
        function(_complete(compose(name, overrides), name))
        return
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    @hydra.main(version_base="1.3", config_path=str(share("configs")), config_name=name)
    def job(config: Any) -> None:
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        if "output" in plain and plain["output"] is None:
            plain["output"] = HydraConfig.get().runtime.output_dir
        function(_complete({str(key): value for key, value in plain.items()}, name))

    ours = ("hydra.output_subdir=null", "hydra/job_logging=none")  # a job's folder is for its output alone
    given, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # mistakes come through to `main`; Hydra alone would exit with 1
    try:
        with hydra.initialize_config_dir(config_dir=str(share("configs")), version_base="1.3"):
            overrides = _readable_to_hydra(name, overrides)
        sys.argv = [f"robopolicy {name}", "-m", *ours, *overrides]
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise _readable(error, name) from error
    finally:
        sys.argv = given
        del os.environ["HYDRA_FULL_ERROR"]
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


def options(words: Words, **defaults: Any) -> dict[str, Any]:
    """The `key=value` words of a command that has no configuration file, over their defaults.

    Raises:
        UnknownNameError: a key that the command does not have.
    """
    from omegaconf import OmegaConf

    given = OmegaConf.to_container(OmegaConf.from_dotlist(list(words.overrides)))
    assert isinstance(given, dict)
    for key in given.keys() - defaults.keys():
        raise UnknownNameError("key", str(key), list(defaults))
    return {**defaults, **{str(key): value for key, value in given.items()}}


def defaults_text(name: str) -> str:
    """The composed defaults as YAML, for `--help`."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(compose(name))).rstrip()


def quote(value: str) -> str:
    """A string as the value of an override."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _complete(config: dict[str, Any], name: str) -> dict[str, Any]:
    if missing := [key for key, value in config.items() if value == "???"]:
        raise ConfigError(f"{missing[0]} is not given; add {missing[0]}=... (robopolicy {name} --help)")
    return config


def _readable_to_hydra(name: str, overrides: Sequence[str]) -> list[str]:
    """What Hydra's grammar cannot take as it stands, in a form that it can."""
    return _let_new_arguments_in(name, [_quoted(word) for word in overrides])


def _quoted(word: str) -> str:
    """A word whose value has letters beyond ASCII, as in a path, with the value in quotes."""
    key, _, value = word.partition("=")
    if value.isascii() or set(value) & set("'\",[]{}()"):
        return word
    return f"{key}={quote(value)}"


def _let_new_arguments_in(name: str, overrides: Sequence[str]) -> list[str]:
    """`policy.width=64` becomes `++policy.width=64` where `policy` is a constructor call: its defaults are in
    code, so a key that the YAML does not show may still exist, and the builder checks it. The same holds
    below a mapping that is empty in the YAML: what may stand there is known elsewhere
    (`env={action_mode: ee}`).
    """
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    inner = [word for word in overrides if re.match(r"^\w+((\.\w+)+=|=\{)", word)]
    if not inner:
        return list(overrides)
    parser = OverridesParser.create()
    outer = [word for word in overrides if word not in inner]
    fixed = [word for word in outer if not parser.parse_override(word).is_sweep_override()]
    config = hydra.compose(config_name=name, overrides=fixed)

    def is_open(word: str) -> bool:
        node: Any = config
        *above, last = word.partition("=")[0].split(".")
        for part in above:
            node = node.get(part) if isinstance(node, Mapping) else None
            if isinstance(node, Mapping) and (not node or "_target_" in node):
                return True
        value = node.get(last) if isinstance(node, Mapping) else None
        return isinstance(value, Mapping) and not value

    return [f"++{word}" if word in inner and is_open(word) else word for word in overrides]


def _readable(error: Exception, name: str) -> UserError:
    """One sentence in the place of Hydra's several."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return UnknownNameError(group or "configuration", option, list(error.options))
    first = str(error).strip().splitlines()[0]
    if found := re.match(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", first):
        key = found[1] or found[2]
        if found := re.search(r"full_key: (\S+)", str(error)):
            key = found[1]
        known = _keys(compose(name))
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        said = (
            f"did you mean {' or '.join(repr(k) for k in near)}?"
            if near
            else f"known: {[k for k in known if '.' not in k]}"
        )
        return ConfigError(f"there is no key '{key}'; {said}")
    if first.startswith("Ambiguous value"):
        return ConfigError(f"{first}: add -m to sweep over it, or write a list as key=[a,b]")
    if "LexerNoViableAlt" in first:
        return ConfigError(f"{first}: put the value in quotes, key=\"'value'\"")
    return ConfigError(first)


def _keys(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(prefix + key)
        if isinstance(value, Mapping):
            found += _keys(value, f"{prefix}{key}.")
    return found

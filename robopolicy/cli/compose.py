"""From the words of a command line to a plain configuration, and from a sweep to several.

A single run composes with Hydra and stays in this process: a mistake is one message and exit status 2. With
`-m` the same function runs under `hydra.main`, so every sweeper and launcher works. Keys are checked before
Hydra sees them, but for those of nodes that carry `_target_`: what builds these knows their signatures.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopolicy.core.errors import ConfigError, UnknownNameError, UserError
from robopolicy.core.share import share

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_LIST = "_list_"  # a list that is given in the place of a group's file travels under this key
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


def split(args: Sequence[str], *, flags: Sequence[str] = (), keys: bool = True, sweeps: bool = True) -> Words:
    """Sort a command line.

    Args:
        args: the words after the command.
        flags: options that this command knows, for example `--compare`.
        keys: whether it takes overrides; where not, they are positional, for the command to refuse.
        sweeps: whether it takes `-m`.

    Raises:
        UnknownNameError: an option that is not known.
    """
    known = {flag: flag for flag in flags} | ({"-m": "-m", "--multirun": "-m"} if sweeps else {})
    positional, overrides, seen = [], [], set()
    for word in args:
        if word.startswith("-"):
            if word not in known:
                raise UnknownNameError("option", word, [*known, "--help"])
            seen.add(known[word])
        elif keys and _OVERRIDE.match(word) and not os.path.exists(word):  # pathlib raises at long words
            overrides.append(word)
        else:
            positional.append(word)
    return Words(tuple(positional), tuple(overrides), frozenset(seen))


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain, resolved configuration `configs/<name>.yaml` with overrides.

    Raises:
        UserError: a key, a group option or an override that does not exist or cannot be read.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with hydra.initialize_config_dir(config_dir=str(share("configs")), version_base="1.3"):
            config = hydra.compose(config_name=name, overrides=_checked(name, overrides))
            return _plain(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise _readable(error) from error


def launch(name: str, words: Words, function: Callable[[dict[str, Any]], Any], *extra: str) -> None:
    """Call `function` with the composed configuration: once, or with `-m` once per combination.

    Each job of a sweep has an `output` of its own, see `_job_folder`.

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
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    @hydra.main(version_base="1.3", config_path=str(share("configs")), config_name=name)
    def job(config: Any) -> None:
        plain = _plain(config)
        given = plain.get("output", "")
        if given is None or (isinstance(given, str) and given):  # what is no path, the command refuses
            plain["output"] = str(_job_folder(given, overrides))
        function(_complete(plain, name))

    # a job's folder is for its output alone, and named by us
    ours = ("hydra.output_subdir=null", "hydra/job_logging=none", "hydra.sweep.subdir=.")
    given, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # mistakes come through to `main`; Hydra alone would exit with 1
    try:
        with hydra.initialize_config_dir(config_dir=str(share("configs")), version_base="1.3"):
            overrides = _checked(name, overrides, sweep=True)
        fixed = {o.key_or_group: o.value() for o in _read(overrides) if not o.is_sweep_override()}
        where = [f"hydra.sweep.dir={quote(str(fixed['output']))}"] if fixed.get("output") else []
        sys.argv = [f"robopolicy {name}", "-m", *ours, *where, *overrides]
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise _readable(error) from error
    finally:
        sys.argv = given
        del os.environ["HYDRA_FULL_ERROR"]
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


def _job_folder(given: str | None, overrides: Sequence[str]) -> Path:
    """The folder of this job: below `given`, or Hydra's for the sweep, a level for each key that is swept.

    The seed's comes last: the folder above it holds the runs that `robopolicy eval` takes for one policy.
    """
    from hydra.core.hydra_config import HydraConfig

    job = HydraConfig.get()
    same = {o.key_or_group for o in _read(overrides) if not o.is_sweep_override()} | {"output"}
    own = [o for o in _read(job.overrides.task) if o.key_or_group not in same]
    own.sort(key=lambda o: o.key_or_group == "seed")
    levels = [f"{o.key_or_group}_{o.value()}".replace("/", "_") for o in own]
    return Path(job.runtime.output_dir if given is None else given, *levels)


def _read(overrides: Sequence[str]) -> list[Any]:
    """Overrides as Hydra reads them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides(list(overrides))


def options(words: Words, **defaults: Any) -> dict[str, Any]:
    """The `key=value` words of a command that has no configuration file, over their defaults.

    Raises:
        UnknownNameError: a key that the command does not have.
        ConfigError: a value that is no YAML.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist(list(words.overrides)))
    except YAMLError as error:
        said = " ".join(words.overrides)
        raise ConfigError(f"{said} cannot be read; put the value in quotes, key=\"'value'\"") from error
    assert isinstance(given, dict)
    for key in given.keys() - defaults.keys():
        raise UnknownNameError("key", str(key), list(defaults))
    return {**defaults, **{str(key): value for key, value in given.items()}}


def defaults_text(name: str) -> str:
    """The lines of `configs/<name>.yaml`, and below them what its groups give by themselves, for `--help`."""
    from omegaconf import OmegaConf

    text = (share("configs") / f"{name}.yaml").read_text()
    own = re.sub(r"^defaults:\n(?: .*\n)+\n*", "", text, flags=re.MULTILINE)
    keys = OmegaConf.to_container(OmegaConf.create(own))
    assert isinstance(keys, dict)
    groups = {key: value for key, value in compose(name).items() if key not in keys}
    return f"{own}\n{OmegaConf.to_yaml(groups) if groups else ''}".rstrip()


def quote(value: str) -> str:
    """A string as the value of an override."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(config: Any) -> dict[str, Any]:
    """A composed configuration as plain values."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {
        str(key): value[_LIST] if isinstance(value, dict) and value.keys() == {_LIST} else value
        for key, value in plain.items()
    }


def _complete(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration, in which nothing is missing and mappings are where the YAML has some."""
    from omegaconf import OmegaConf

    if missing := [key for key, value in config.items() if value == "???"]:
        raise ConfigError(f"{missing[0]} is not given; add {missing[0]}=... (robopolicy {name} --help)")
    usual = OmegaConf.to_container(OmegaConf.load(share("configs") / f"{name}.yaml"))
    assert isinstance(usual, dict)
    if gone := [key for key in usual if key not in config and key != "defaults"]:
        raise ConfigError(f"{gone[0]} cannot be deleted; set it: {gone[0]}=... (robopolicy {name} --help)")
    for key, value in config.items():
        if isinstance(usual.get(key), dict) and not isinstance(value, dict):
            raise ConfigError(f"{key} is {value!r}; a mapping is meant: {key}={{key: value}}")
    return config


def _checked(name: str, words: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Overrides in a form that Hydra, which must have been initialised, takes; their keys exist.

    Where a node is a constructor call its defaults are in code, and what may stand in a mapping that is empty
    in the YAML is known elsewhere too: below these every key is let in (`++`), and who builds them checks it.
    """
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    parser = OverridesParser.create()
    asked = [parser.parse_override(_quoted(word)) for word in words]
    if not sweep and (several := [o.input_line for o in asked if o.is_sweep_override()]):
        raise ConfigError(f"{several[0]} is a sweep: add -m, or write a list as key=[a,b]")
    usual = OmegaConf.to_container(hydra.compose(config_name=name))
    assert isinstance(usual, dict)
    folders = {path.name for path in share("configs").iterdir() if path.is_dir()}
    groups = folders if folders & usual.keys() else set()  # not every configuration is made of groups
    for override in asked:
        _known(override, usual, groups)
    shaped = [_shape(override, usual, groups) for override in asked]
    fixed = [
        line
        for override, lines in zip(asked, shaped, strict=True)
        for line in lines
        if not (override.is_sweep_override() or override.is_hydra_override())
    ]
    config = OmegaConf.to_container(hydra.compose(config_name=name, overrides=fixed))
    both = zip(asked, shaped, strict=True)
    return [line for override, lines in both for line in lines or _setting(override, config)]


def _known(override: Override, usual: Mapping[Any, Any], groups: Collection[str]) -> None:
    """Refuse to add a key that the command would never look at; what is below one is checked elsewhere."""
    key = override.key_or_group
    adds = (override.is_add() or override.is_force_add()) and not override.is_hydra_override()
    if adds and re.split("[./@]", key)[0] not in {*usual, *groups}:
        raise UnknownNameError("key", key, _keys(usual))


def _shape(override: Override, usual: Mapping[Any, Any], groups: Collection[str]) -> list[str]:
    """What an override does to the keys that there are; nothing, if it only sets one."""
    key, line = override.key_or_group, str(override.input_line)
    changes = override.is_add() or override.is_force_add() or override.is_delete()
    if changes or override.is_hydra_override():
        return [line]
    if key not in groups:
        return []
    if key not in usual:
        raise ConfigError(f"{key} is not part of this configuration by itself; add it: +{line}")
    value = "several" if override.is_sweep_override() else override.value()
    # In the place of a file: nothing of the file's stays.
    if isinstance(value, dict):
        return [f"~{key}", f"+{line}"]
    if isinstance(value, list) and not (value and all(isinstance(item, str) for item in value)):
        # Hydra would take any list for names of files.
        return [f"~{key}", f"+{key}={{{_LIST}: {line.partition('=')[2]}}}"]
    if not isinstance(value, str | list):
        raise ConfigError(f"{line}: give the name of a file in configs/{key}, or what stands in such a file")
    return [line]


def _setting(override: Override, config: Any) -> list[str]:
    """An override of a key, which may be in a list."""
    key, line, node = override.key_or_group, str(override.input_line), config
    for part in key.split("."):
        if isinstance(node, Mapping) and (not node or "_target_" in node):
            return [f"++{line}"]
        if isinstance(node, Mapping) and part not in node:
            raise UnknownNameError("key", key, _keys(config))
        node = node[part] if isinstance(node, Mapping) else None
    if node and isinstance(node, Mapping) and not override.is_sweep_override():
        return [f"~{key}", f"+{line}"]  # a mapping in the place of another, of which nothing stays
    return [f"++{line}" if node == {} else line]


def _quoted(word: str) -> str:
    """A word whose value has letters beyond ASCII, as in a path, with the value in quotes for Hydra."""
    key, _, value = word.partition("=")
    if value.isascii() or set(value) & set("'\",[]{}()"):
        return word
    return f"{key}={quote(value)}"


def _readable(error: Exception) -> UserError:
    """One sentence in the place of Hydra's several."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return UnknownNameError(group or "configuration", option, list(error.options))
    first = str(error).strip().splitlines()[0]
    if "LexerNoViableAlt" in first or "mismatched input" in first:
        return ConfigError(f"{first}: put the value in quotes, key=\"'value'\"")
    return ConfigError(first)


def _keys(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(prefix + key)
        if isinstance(value, Mapping):
            found += _keys(value, f"{prefix}{key}.")
    return found

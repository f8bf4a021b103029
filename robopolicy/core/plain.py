"""Reading what a stranger wrote: plain data only, in a bounded amount.

Configurations and checkpoints travel between people. What is read here can hold mappings, lists, strings,
numbers and truth values, and nothing that means more than itself: no YAML tags or anchors, no interpolation,
no `hydra:` node. Sizes and depths are capped before anything is composed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from robopolicy.core.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_plain(config: Any, name: str = "config") -> None:
    """Refuse everything but plain resolved data.

    Raises:
        ConfigError: a `hydra:` node, an interpolation, a value that is no plain datum, too deep, too large.
    """
    nodes = 0
    stack: list[tuple[Any, str, int]] = [(config, name, 0)]
    while stack:
        value, at, depth = stack.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{name} is nested more than {MAX_DEPTH} deep; flatten it")
        if nodes > MAX_NODES:
            raise ConfigError(f"{name} holds more than {MAX_NODES} values; a configuration is far smaller")
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ConfigError(f"{at}: key {key!r} is a {type(key).__name__}; write it in quotes")
                if key == "hydra":
                    raise ConfigError(f"{at}.hydra: a `hydra:` node can run code and is refused; delete it")
                _check_string(key, at)
                stack.append((item, f"{at}.{key}", depth + 1))
        elif isinstance(value, list | tuple):
            stack.extend((item, f"{at}[{i}]", depth + 1) for i, item in enumerate(value))
        elif isinstance(value, str):
            _check_string(value, at)
        elif value is not None and not isinstance(value, bool | int | float):
            raise ConfigError(f"{at} is a {type(value).__name__}; only plain values are read here")


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML file; tags, anchors and aliases are refused before they are composed."""
    text = _read(path)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"{path} is nested more than {MAX_DEPTH} deep; flatten it")
            if (tag := getattr(event, "tag", None)) is not None:
                raise ConfigError(f"{path}: the YAML tag {tag!r} is refused; write plain values")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise ConfigError(f"{path}: YAML anchors and aliases are refused; write the value out")
        content = yaml.load(text, Loader=_Loader)  # a safe loader, over text without tags
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    check_plain(content, path.name)
    return content


def read_json(path: Path) -> Any:
    """The content of a JSON file, which cannot be but plain."""
    text = _read(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def _read(path: Path) -> str:
    with open(path, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes; a configuration is far smaller")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text: {error}") from error


def _check_string(text: str, at: str) -> None:
    if "${" in text:
        raise ConfigError(f"{at}: the interpolation {text[:60]!r} is refused; write the resolved value")

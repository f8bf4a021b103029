"""From a plain configuration to objects, through an allow-list.

A node with `_target_` is a constructor call and its other keys are keyword arguments: constructors are the
schema. `_target_` may only name a public class or function that is *defined* in this project's component
packages or in a package that an installed plug-in registered under the entry-point group
`robopolicy.components`. The check is made on the resolved object, so an alias of something foreign does not
pass, and a module outside those packages is never even imported. The whole tree is checked before the first
object is built.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.plain import check_plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
S = TypeVar("S", bound="DataclassInstance")
GROUP = "robopolicy.components"

# What a learner may be made of. Packages that open files (data, control, serve) stay out: a checkpoint from a
# stranger is built through here. All that is opened is a pretrained model, as safetensors (`nn.pretrained`).
PACKAGES = tuple(f"robopolicy.{name}" for name in ("policies", "critics", "steering", "agents", "nn", "ops"))


def build(node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build the object that `node` describes, nested nodes first.

    Args:
        node: plain mapping with `_target_`; `_partial_: true` gives the callable with its arguments bound.
        runtime: objects handed to every constructor, at any depth, whose signature names them (`spec`).

    Raises:
        ConfigError: a target that is not allowed, an unknown or missing key, a value of the wrong type, or
            something too large for this machine's memory.
    """
    check_plain(dict(node))
    allowed = (*PACKAGES, *_plugins())
    if "_target_" not in node:
        raise ConfigError(f"this node names nothing to build: it needs `_target_`; it has {sorted(node)}")
    call = _plan(dict(node), allowed, frozenset(runtime), "config")
    return _make(call, runtime)


def fill(settings: Callable[..., T], values: Mapping[str, Any], **runtime: Any) -> T:
    """Call what the code itself chose (settings, an environment) with plain values, checked as `build` does.

    Args:
        settings: a class or function.
        values: its arguments.
        runtime: further arguments, which no configuration may give.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type.
    """
    check_plain(dict(values))
    taken, arguments = _checked(settings, dict(values), frozenset(runtime), partial=False)
    return settings(**arguments, **{name: runtime[name] for name in taken})


def preset(
    kind: str, presets: Mapping[str, S], name: str, knobs: Mapping[str, Any], *, fixed: Collection[str] = ()
) -> S:
    """The settings of this name, with some of their values replaced, checked as `build` does.

    Args:
        kind: what they are settings of, for the message.
        presets: dataclasses by name.
        name: of one of them.
        knobs: values by field.
        fixed: fields that make the preset what it is, which no knob may turn.

    Raises:
        UnknownNameError: no such preset.
        ConfigError: no such knob, or a value that it cannot have.
    """
    if name not in presets:
        raise UnknownNameError(kind, name, list(presets))
    usual = dataclasses.asdict(presets[name])
    kept = {key: usual.pop(key) for key in fixed}
    return fill(type(presets[name]), {**usual, **knobs}, **kept)


class _Call:
    """A checked constructor call; its arguments may hold further calls."""

    def __init__(
        self, function: Callable[..., Any], arguments: dict[str, Any], names: set[str], partial: bool
    ) -> None:
        self.function, self.arguments, self.names, self.partial = function, arguments, names, partial


def _plan(value: Any, allowed: tuple[str, ...], runtime: frozenset[str], at: str) -> Any:
    """Check `value` and everything below it; mappings with `_target_` become calls."""
    if isinstance(value, list | tuple):
        return [_plan(item, allowed, runtime, f"{at}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {key: _plan(item, allowed, runtime, f"{at}.{key}") for key, item in value.items()}
    function = resolve(value["_target_"], allowed)
    partial = value.get("_partial_", False)
    if not isinstance(partial, bool):
        raise ConfigError(f"{at}._partial_ is {partial!r}; true or false is meant")
    arguments = {
        key: _plan(item, allowed, runtime, f"{at}.{key}")
        for key, item in value.items()
        if key not in ("_target_", "_partial_")
    }
    names, arguments = _checked(function, arguments, runtime, partial)
    return _Call(function, arguments, names, partial)


def _make(value: Any, runtime: Mapping[str, Any]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_make(item, runtime) for item in value)
    if isinstance(value, dict):
        return {key: _make(item, runtime) for key, item in value.items()}
    if not isinstance(value, _Call):
        return value
    arguments = {name: _make(item, runtime) for name, item in value.arguments.items()}
    arguments |= {name: item for name, item in runtime.items() if name in value.names}
    if value.partial:
        return functools.partial(value.function, **arguments)
    try:
        return value.function(**arguments)
    except ConfigError:
        raise
    except ValueError as error:  # a constructor that refuses its arguments
        raise ConfigError(f"{value.function.__qualname__}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not _is_refused_memory(error):
            raise
        given = ", ".join(f"{name}={item!r:.60}" for name, item in value.arguments.items())
        raise ConfigError(
            f"{value.function.__qualname__}({given}) is too large for this machine's memory; "
            "make its sizes smaller"
        ) from error


def _is_refused_memory(error: Exception) -> bool:
    """Whether an allocator refused; torch has a kind of error of its own for that on a GPU alone."""
    said = ("DefaultCPUAllocator:", "Storage size calculation overflowed", "out of memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def resolve(target: Any, allowed: Collection[str]) -> Callable[..., Any]:
    """The class or function that a `_target_` names, if it is allowed.

    Raises:
        ConfigError: outside the allowed packages, private, no class or function, defined elsewhere, unknown.
    """
    if not isinstance(target, str):
        raise ConfigError(f"_target_ is {target!r}; a dotted name is meant")
    module_name, _, name = target.rpartition(".")
    parts = target.split(".")
    if any(not part.isidentifier() or part.startswith("_") for part in parts):
        raise ConfigError(f"_target_ '{target}' is refused: only public dotted names are allowed")
    if not _within(module_name, allowed):
        raise ConfigError(
            f"_target_ '{target}' is refused: only components from {sorted(allowed)} may be built; "
            f"a plug-in registers its package under the entry-point group '{GROUP}'"
        )
    module = _import(module_name, target)
    found = vars(module).get(name)
    if found is None:
        known = [key for key, v in vars(module).items() if _is_component(v, allowed) and key[0] != "_"]
        raise ConfigError(f"'{module_name}' has no '{name}'{_near(name, known)}")
    if not _is_component(found, allowed):
        raise ConfigError(
            f"_target_ '{target}' is refused: it is no class or function defined in {sorted(allowed)}"
        )
    return found


def _is_component(found: Any, allowed: Collection[str]) -> bool:
    """Whether it was defined where components live: what was only imported there says another module."""
    return (inspect.isclass(found) or inspect.isfunction(found)) and _within(found.__module__, allowed)


def _within(module_name: str, allowed: Collection[str]) -> bool:
    return any(module_name == package or module_name.startswith(package + ".") for package in allowed)


def _plugins() -> tuple[str, ...]:
    return tuple(sorted({entry.module for entry in entry_points(group=GROUP)}))


def _import(module_name: str, target: str) -> types.ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(missing + "."):
            raise ConfigError(
                f"_target_ '{target}' needs the package '{missing}', which is not installed; install it"
            ) from error
    parent_name, _, leaf = module_name.rpartition(".")
    try:
        path = getattr(importlib.import_module(parent_name), "__path__", [])
    except ModuleNotFoundError:
        path = []
    near = _near(leaf, [info.name for info in pkgutil.iter_modules(path)])
    raise ConfigError(f"_target_ '{target}': there is no module '{module_name}'{near}")


def _checked(
    function: Callable[..., Any], arguments: dict[str, Any], runtime: frozenset[str], partial: bool
) -> tuple[set[str], dict[str, Any]]:
    """The names of the runtime arguments that `function` takes, and its own arguments, checked."""
    title = function.__qualname__
    parameters = inspect.signature(function).parameters
    named = {n: p for n, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    taken = runtime & named.keys()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = [name for name in named if name not in taken]
    hints = _hints(function)
    checked = {}
    for key, value in arguments.items():
        if key in taken:
            raise ConfigError(f"{title}: '{key}' is given by the run and cannot be configured; delete it")
        if key not in named and (not takes_any or key.startswith("_")):
            raise ConfigError(f"{title} has no parameter '{key}'{_near(key, known)}")
        checked[key] = _typed(value, hints.get(key, Any), f"{title}: {key}")
    missing = [n for n in known if named[n].default is inspect.Parameter.empty and n not in arguments]
    if missing and not partial:
        raise ConfigError(f"{title} needs {missing}; it was given {sorted(arguments)}")
    return set(taken), checked


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return {}


def _typed(value: Any, hint: Any, what: str) -> Any:
    """`value` checked against a simple annotation; YAML's lists become the tuples that constructors take."""
    if isinstance(value, _Call):
        return value
    if not _allows(value, hint):
        raise ConfigError(f"{what} is {value!r} ({type(value).__name__}); {_wanted(hint)} is meant")
    kind, inner = _container(value, hint)
    if isinstance(value, dict) and len(inner) == 2:
        for key, item in value.items():
            _typed(item, inner[1], f"{what}.{key}")
    if isinstance(value, list | tuple) and inner:
        fixed = kind is tuple and Ellipsis not in inner
        if fixed and len(value) != len(inner):
            raise ConfigError(f"{what} is {list(value)}; {len(inner)} values are meant")
        hints = inner if fixed else inner[:1] * len(value)
        items = [_typed(item, hints[i], f"{what}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if kind is tuple else value
    kinds = _options(hint)
    if type(value) is int and float in kinds and int not in kinds:
        return float(value)
    return value


def _allows(value: Any, hint: Any) -> bool:
    """Whether a plain value fits; what cannot be known of an annotation fits."""
    if len(options := _options(hint)) > 1:
        return any(_allows(value, option) for option in options)
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    kind = origin or hint
    if not inspect.isclass(kind) or kind in (Any, object) or getattr(kind, "_is_protocol", False):
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    if issubclass(list, kind) or kind is tuple:  # list, Sequence, Iterable ...
        return isinstance(value, list | tuple)
    return isinstance(value, kind)


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union; an annotation that is none, alone."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _container(value: Any, hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What kind of list or mapping is meant by `hint`, and the annotations of what is in it.

    Of a union, that of the only option that fits; nothing, where several do or it is not said.
    """
    fitting = [option for option in _options(hint) if typing.get_args(option) and _allows(value, option)]
    return (typing.get_origin(fitting[0]), typing.get_args(fitting[0])) if len(fitting) == 1 else (None, ())


def _wanted(hint: Any) -> str:
    """An annotation as whoever writes YAML knows it."""
    if inspect.isclass(hint) and not typing.get_args(hint):
        return hint.__name__
    said = str(hint).replace("typing.", "").replace("collections.abc.", "")
    return said.replace("tuple[", "list[").replace("Sequence[", "list[")


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(repr(n) for n in near)}?"
    return f"; it has {sorted(known)}" if known else ""

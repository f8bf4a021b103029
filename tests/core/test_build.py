"""Building through the allow-list: what is built, and what is said about what is not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tiny_components.learners import TinyLearner

from robopolicy.core.build import build, fill
from robopolicy.core.errors import ConfigError
from robopolicy.core.spec import Spec, Vector

SPEC = Spec(
    state=Vector.of({"a": (-1, 1, "1"), "b": (-1, 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
TINY = "tiny_components.learners.TinyLearner"
HEAD = "tiny_components.learners.make_head"


def tiny(**arguments: Any) -> TinyLearner:
    return build({"_target_": TINY, **arguments}, spec=SPEC)


def test_nested_nodes_are_built_first_and_lists_become_tuples() -> None:
    learner = tiny(width=4, horizons=[3], head={"_target_": HEAD, "size": 2, "bias": False})
    assert learner.horizon == 3
    assert learner.critic.bias is None
    assert learner.spec is SPEC


def test_partial_binds_arguments() -> None:
    make = build({"_target_": HEAD, "_partial_": True, "bias": False})
    assert isinstance(make, functools.partial)
    assert make(size=2).bias is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"widht": 4}, "TinyLearner has no parameter 'widht'; did you mean 'width'"),
        ({"zzz": 4}, "it has \\["),
        ({"width": "4"}, "width is '4' \\(str\\); int is meant"),
        ({"width": 4.5}, "int is meant"),
        ({"width": True}, "width is True \\(bool\\); int is meant"),
        ({"width": None}, "int is meant"),
        ({"dropout": "0.1"}, "float is meant"),
        ({"name": 3}, "str | None is meant"),
        ({"horizons": 3}, "list\\[int, ...\\] is meant"),
        ({"horizons": ["3"]}, "horizons\\[0\\] is '3'"),
        ({"head": "linear"}, "Module"),
        ({"head": {"size": 2}}, "Module"),
        ({"spec": {}}, "given by the run"),
        ({"_args_": [1]}, "no parameter '_args_'"),
        ({"_partial_": "yes"}, "true or false"),
        ({"width": 0}, "TinyLearner: width is 0; at least 1 is meant"),
        ({"head": {"_target_": HEAD}}, "make_head needs \\['size'\\]"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny(**arguments)


@pytest.mark.parametrize("width", [10**17, 2**62])
def test_what_no_memory_can_hold_is_named(width: int) -> None:
    with pytest.raises(ConfigError, match=f"TinyLearner\\(width={width}, .* is too large for this machine's"):
        tiny(width=width, dropout=0.5)


def test_other_failures_of_a_constructor_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="negative dimension") as caught:
        build({"_target_": HEAD, "size": -1})
    assert not isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tiny_components.learners.TinyLerner", "did you mean 'TinyLearner'"),
        ("tiny_components.lerners.TinyLearner", "did you mean 'learners'"),
        ("robopolicy.policies.folw.FlowPolicy", "no module 'robopolicy.policies.folw'; did you mean 'flow'"),
    ],
)
def test_misspelt_targets_are_suggested(target: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build({"_target_": target}, spec=SPEC)


def test_float_parameters_take_integers() -> None:
    assert isinstance(tiny(dropout=0).actor[2].p, float)


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float
    names: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    call: Callable[[], int] | None = None
    limit: float | None = None
    span: tuple[float, float] = (0.0, 1.0)
    parts: Sequence[Mapping[str, int]] = ()


def test_fill_checks_as_a_constructor_call_does() -> None:
    assert fill(Settings, {"rate": 1, "names": ["a"]}) == Settings(rate=1.0, names=("a",))
    assert isinstance(fill(Settings, {"rate": 1, "limit": 2}).limit, float)
    for values, said in [
        ({}, "needs \\['rate'\\]"),
        ({"rate": 1, "nmes": []}, "did you mean 'names'"),
        ({"rate": 1, "more": []}, "Mapping"),
        ({"rate": 1, "call": "f"}, "Callable"),
        ({"rate": 1, "more": {"a": "${b}"}}, "interpolation"),
        ({"rate": 1, "span": [1]}, "span is \\[1\\]; 2 values are meant"),
        ({"rate": 1, "span": [1, "x"]}, "span\\[1\\] is 'x' \\(str\\); float is meant"),
        ({"rate": 1, "parts": [5]}, "parts\\[0\\] is 5 \\(int\\); Mapping\\[str, int\\] is meant"),
        ({"rate": 1, "parts": [{"a": "x"}]}, "parts\\[0\\].a is 'x' \\(str\\); int is meant"),
    ]:
        with pytest.raises(ConfigError, match=said):
            fill(Settings, values)

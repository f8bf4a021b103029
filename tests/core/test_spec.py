"""Specs survive the disk, and refuse each other by the field's name."""

from dataclasses import replace

import numpy as np
import pytest

from robopolicy.core.errors import SpecMismatchError, UserError
from robopolicy.core.spec import ActionSemantics, Image, Spec, Vector

STATE = Vector.of(
    {"pan.pos": (-2, 2, "rad"), "lift.pos": (-1, 1, "rad"), "env.cube.x": (-np.inf, np.inf, "m")}
)
SPEC = Spec(
    state=STATE,
    action=STATE.select(("pan.pos", "lift.pos")),
    control_hz=30,
    semantics=ActionSemantics(gripper="position_rad"),
    images={"front": Image(height=84, width=96)},
    text=True,
)


def test_a_spec_survives_json_with_infinite_bounds():
    assert Spec.from_json(SPEC.to_json()) == SPEC


def test_json_that_is_no_spec_is_refused():
    with pytest.raises(ValueError, match="not a spec"):
        Spec.from_json('{"state": 3}')


def test_a_camera_policy_is_not_told_where_things_are():
    pixels = SPEC.observe("pixels")
    assert pixels.state.names == ("pan.pos", "lift.pos")
    assert pixels.images == SPEC.images
    assert SPEC.observe("state").images == {}
    with pytest.raises(SpecMismatchError, match="record with images"):
        SPEC.observe("state").observe("pixels")


@pytest.mark.parametrize(
    ("elements", "seen"),
    [
        (["*.pos"], ("pan.pos", "lift.pos")),
        (["lift.pos", "p*"], ("pan.pos", "lift.pos")),
        (None, STATE.names),
    ],
)
def test_some_elements_of_the_state_can_be_left_out(elements, seen):
    assert SPEC.observe("all", elements).state.names == seen


@pytest.mark.parametrize(("elements", "said"), [(["*.vel"], "vel"), ([], "a list"), ("*.pos", "a list")])
def test_elements_that_say_nothing_are_refused(elements, said):
    with pytest.raises(UserError, match=said):
        SPEC.observe("all", elements)


def test_an_offer_may_hold_more_and_in_another_order():
    wanted = replace(SPEC, state=STATE.select(("lift.pos", "pan.pos")), images={}, text=False)
    wanted.require(SPEC, wanted_by="the policy", offered_by="the env")
    assert SPEC.state.indices(wanted.state.names).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"control_hz": 20.0}, "control_hz"),
        ({"action": STATE.select(("lift.pos", "pan.pos"))}, "action.names"),
        ({"semantics": ActionSemantics(mode="delta", gripper="position_rad")}, "'mode'"),
        ({"semantics": ActionSemantics(gripper="open_fraction")}, "'gripper'"),
        ({"state": STATE.select(("pan.pos",))}, "lift.pos"),
        ({"state": replace(STATE, units=("deg", "rad", "m"))}, "unit of state 'pan.pos'"),
        ({"images": {}}, "camera 'front'"),
        ({"images": {"front": Image(height=84, width=84)}}, "camera 'front'"),
        ({"text": False}, "text"),
    ],
)
def test_each_difference_is_named_with_both_parties(change, named):
    with pytest.raises(SpecMismatchError, match=named) as caught:
        SPEC.require(replace(SPEC, **change), wanted_by="the policy", offered_by="the env")
    assert "the policy" in str(caught.value)
    assert "the env" in str(caught.value)


def test_malformed_vectors_and_semantics_are_refused():
    with pytest.raises(ValueError, match="unique"):
        Vector(names=("a", "a"), low=(0, 0), high=(1, 1), units=("m", "m"))
    with pytest.raises(ValueError, match="bounds of 'a'"):
        Vector.of({"a": (1, 0, "m")})
    with pytest.raises(ValueError, match="as many"):
        Vector(names=("a",), low=(0, 0), high=(1, 1), units=("m",))
    with pytest.raises(ValueError, match="frame is 'world'"):
        ActionSemantics(frame="world")

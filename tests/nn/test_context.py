import pytest
import torch

from robopolicy.core.errors import SpecMismatchError, UnknownNameError
from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.core.types import Observation
from robopolicy.nn.context import ContextEncoder
from robopolicy.nn.language import TextEmbedding

VECTOR = Vector.of({"x": (-1.0, 1.0, "m"), "y": (-1.0, 1.0, "m"), "z": (-1.0, 1.0, "m")})
SPEC = Spec(
    state=VECTOR,
    action=VECTOR,
    control_hz=10.0,
    images={"wrist": Image(height=24, width=32), "top": Image(height=24, width=32)},
    text=True,
)


def observation(rows: int, steps: int = 2) -> Observation:
    torch.manual_seed(0)
    frames = {
        name: torch.randint(0, 256, (rows, steps, 3, 24, 32), dtype=torch.uint8) for name in SPEC.images
    }
    texts = ("pick the red cube", "put red on blue", "put blue on red", "")
    return Observation(
        state=torch.randn(rows, steps, 3), images=frames, text=tuple(texts[i % 4] for i in range(rows))
    )


def test_width_is_what_forward_gives_and_rows_do_not_mix():
    encoder = ContextEncoder(spec=SPEC, obs_steps=2, image_dim=8, text_dim=5)
    obs = observation(4)
    vector = encoder(obs, obs.state)
    assert vector.shape == (4, encoder.width) == (4, 2 * (3 + 2 * 8) + 5)
    alone = obs.rows(slice(2, 3))
    torch.testing.assert_close(encoder(alone, alone.state), vector[2:3])


def test_cameras_keep_their_places_whatever_order_they_come_in():
    encoder = ContextEncoder(spec=SPEC, obs_steps=2)
    obs = observation(2)
    swapped = Observation(state=obs.state, images=dict(reversed(obs.images.items())), text=obs.text)
    torch.testing.assert_close(encoder(swapped, obs.state), encoder(obs, obs.state))


def test_one_call_of_a_cameras_encoder_for_all_its_steps():
    encoder = ContextEncoder(spec=SPEC, obs_steps=2)
    calls = []
    for each in encoder.images:
        each.register_forward_hook(lambda module, inputs, output: calls.append((module, inputs[0])))
    obs = observation(3)
    encoder(obs, obs.state)
    assert [module for module, _ in calls] == list(encoder.images)
    for (_, frames), camera in zip(calls, ("top", "wrist"), strict=True):
        torch.testing.assert_close(frames, obs.images[camera].flatten(0, 1))


def test_what_the_spec_names_must_be_there():
    encoder = ContextEncoder(spec=SPEC, obs_steps=2)
    obs = observation(1)
    with pytest.raises(SpecMismatchError, match="wrist"):
        encoder(Observation(state=obs.state, images={"top": obs.images["top"]}, text=obs.text), obs.state)
    with pytest.raises(SpecMismatchError, match="instruction"):
        encoder(Observation(state=obs.state, images=obs.images), obs.state)
    with pytest.raises(UnknownNameError, match="resnet18"):
        ContextEncoder(spec=SPEC, obs_steps=1, vision="resnet-18")


def test_text_depends_on_order_but_not_on_case_or_neighbours():
    embed = TextEmbedding(width=6)
    out = embed(("put red on blue", "Put RED on blue!", "put blue on red", ""))
    torch.testing.assert_close(out[0], out[1])
    assert (out[0] - out[2]).abs().max() > 1e-3
    assert not out[3].any()
    torch.testing.assert_close(embed(("put blue on red",))[0], out[2])

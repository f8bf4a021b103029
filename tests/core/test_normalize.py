"""The normaliser's maps are inverse to each other and never divide by nothing."""

import numpy as np
import pytest
import torch

from robopolicy.core.normalize import LEVELS, MODES, Normalizer
from robopolicy.core.spec import Spec, Vector

VECTOR = Vector.of({"a": (-1, 1, "rad"), "b": (-1, 1, "m"), "still": (0, 1, "m")})
SPEC = Spec(state=VECTOR, action=VECTOR, control_hz=10)


def stats(values: np.ndarray) -> dict[str, np.ndarray]:
    named = {name: getattr(values, name)(0) for name in ("mean", "std", "min", "max")}
    return named | {"q01": np.quantile(values, 0.01, axis=0), "q99": np.quantile(values, 0.99, axis=0)}


@pytest.mark.parametrize("mode", MODES)
def test_normalising_and_back_is_the_identity(mode):
    values = np.random.default_rng(0).normal([5, -2, 3], [2, 0.1, 0], (500, 3))
    normalizer = Normalizer(spec=SPEC, state_mode=mode, action_mode=mode)
    normalizer.fit({"state": stats(values), "action": stats(values)})
    action = torch.from_numpy(values).float()
    normal = normalizer.action(action)
    assert torch.allclose(normalizer.unaction(normal), action, atol=1e-5)
    assert torch.equal(normal, normalizer.state(action))
    assert torch.isfinite(normal).all()
    if mode == "min_max":
        assert normal[:, :2].abs().max() <= 1 + 1e-5
    if mode == "mean_std":
        assert torch.allclose(normal[:, :2].std(0), torch.ones(2), atol=0.01)


def test_quantiles_are_kept_normalised_and_travel_with_the_state():
    values = np.random.default_rng(0).uniform(2, 6, (5000, 3))
    found = dict(zip(LEVELS, np.quantile(values, list(LEVELS.values()), axis=0), strict=True))
    everything = {name: found | stats(values) for name in ("state", "action")}
    normalizer, other = (Normalizer(spec=SPEC, quantiles=True) for _ in range(2))
    normalizer.fit(everything)
    even = 2 * torch.tensor(list(LEVELS.values()))[:, None].expand(-1, 3) - 1
    assert torch.allclose(normalizer.action_quantiles, even, atol=0.05)
    other.load_state_dict(normalizer.state_dict())
    assert torch.equal(other.action_quantiles, normalizer.action_quantiles)
    assert "action_quantiles" not in Normalizer(spec=SPEC).state_dict()


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="state_mode is 'zscore'"):
        Normalizer(spec=SPEC, state_mode="zscore")

"""Variance-preserving diffusion: the circle between noise and data, and ways to walk it backwards.

With noise z and data a, the point at time t is

    x_t = cos(angle) a + sin(angle) z ,    angle(0) = pi / 2 (noise),  angle(1) = 0 (data).

The angles of K noise levels are those of diffusers' squared-cosine schedule (Nichol & Dhariwal 2021,
arXiv:2102.09672). Level k of K there (0 is the least noisy) is time `1 - (k + 1) / K` here, since time 1 is
data everywhere in this project; between levels, angles are interpolated. The velocity is that of the
probability-flow ODE: where x = cos(angle) a' + sin(angle) z' by the estimates a' and z',

    dx/dt = rate (sin(angle) a' - cos(angle) z') ,    rate = -d angle / dt .

Every sampler here, DDPM (Ho et al. 2020, arXiv:2006.11239), DDIM (Song et al. 2020, arXiv:2010.02502) and
DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095), is linear in the point, the present and the previous estimate
of the data, and fresh noise. The coefficients are read off diffusers' own schedulers once, by stepping them
on unit vectors; a step is then two or three multiplications with numbers known beforehand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.types import Noise
from robopolicy.ops.flow import Points, Project, Times, Velocity, along, hold_prefix

_SCHEDULE: dict[str, Any] = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "sample",
    "timestep_spacing": "trailing",  # so that sampling starts where there is nothing but noise
}


class Schedule(nn.Module):
    """How noisy a point is at a time.

    Args:
        levels: K, of the schedule in diffusers.
    """

    angles: Tensor

    def __init__(self, *, levels: int = 100) -> None:
        super().__init__()
        self.levels = levels
        signal = DDIMScheduler(num_train_timesteps=levels, **_SCHEDULE).alphas_cumprod.double()
        angles = torch.atan2((1 - signal).sqrt(), signal.sqrt())
        self.register_buffer("angles", torch.cat([angles.new_zeros(1), angles]).float(), persistent=False)

    def at(self, t: Float[Tensor, "*any"]) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
        """Angle and rate at times `t` in [0, 1]."""
        place = (1 - t) * self.levels
        below = place.long().clamp(0, self.levels - 1)
        low, high = self.angles[below], self.angles[below + 1]
        return torch.lerp(low, high, place - below), (high - low) * self.levels

    def interpolate(self, noise: Points, data: Points, t: Times) -> Points:
        """The point at time `t` on the circle from noise to data."""
        angle, _ = self.at(along(t, data))
        return angle.cos() * data + angle.sin() * noise

    def velocity(self, x: Points, clean: Points, t: Times) -> Points:
        """dx/dt at `x` and time `t`, where the data is thought to be `clean`."""
        angle, rate = self.at(along(t, x))
        # at t = 1 the noise is unknown and moves nothing: any finite divisor will do
        return rate * (clean - angle.cos() * x) / angle.sin().clamp(min=1e-4)

    def clean(self, x: Points, velocity: Points, t: Times) -> Points:
        """Inverse of `velocity`: the data to which it points."""
        angle, rate = self.at(along(t, x))
        return angle.cos() * x + angle.sin() * velocity / rate

    def hold_prefix(self, noise: Points, prefix: Float[Tensor, "B P A"]) -> Project:
        """As `ops.flow.hold_prefix`, on this path."""
        return hold_prefix(noise, prefix, self.interpolate)


Angles = Float[Tensor, "B N 1 1"]
"""Of each point, between 0 (data) and pi / 2 (noise)."""


class Prediction(ABC):
    """What the network is asked for, given x = cos(angle) a + sin(angle) z."""

    @abstractmethod
    def target(self, noise: Points, data: Points, angle: Angles) -> Points:
        """What it regresses."""

    @abstractmethod
    def clean(self, output: Points, x: Points, angle: Angles) -> Points:
        """The data, by its output."""


class Epsilon(Prediction):
    """The noise z, as in the papers of diffusion and of Diffusion Policy."""

    def target(self, noise: Points, data: Points, angle: Angles) -> Points:
        """z."""
        return noise

    def clean(self, output: Points, x: Points, angle: Angles) -> Points:
        """(x - sin z) / cos; meaningless in pure noise, and hence clipped by who asks."""
        return (x - angle.sin() * output) / angle.cos()


class Sample(Prediction):
    """The data a."""

    def target(self, noise: Points, data: Points, angle: Angles) -> Points:
        """a."""
        return data

    def clean(self, output: Points, x: Points, angle: Angles) -> Points:
        """a; where there is no noise, x itself."""
        return torch.where(angle > 0, output, x)


class Residual(Prediction):
    """What the best linear guess from x leaves over, in units of its own standard deviation.

    With data of standard deviation s that guess is `skip x`, and what it misses has deviation `out`
    (Karras et al. 2022, arXiv:2206.00364, eq. 7, carried to the circle):

        a = skip x + out F ,    skip = cos s^2 / D ,    out = s sin / sqrt(D) ,    D = (s cos)^2 + sin^2 .

    At s = 1 this is minus the "v" of Salimans & Ho 2022 (arXiv:2202.00512).

    Args:
        data_std: s, of the normalised actions, roughly.
    """

    def __init__(self, *, data_std: float = 0.5) -> None:
        self.data_std = data_std

    def target(self, noise: Points, data: Points, angle: Angles) -> Points:
        """(a - skip x) / out, written so that nothing is divided by zero where there is no noise."""
        std, sin, cos = self.data_std, angle.sin(), angle.cos()
        return (sin * data / std - std * cos * noise) * self._variance(sin, cos).rsqrt()

    def clean(self, output: Points, x: Points, angle: Angles) -> Points:
        """skip x + out F."""
        std, sin, cos = self.data_std, angle.sin(), angle.cos()
        variance = self._variance(sin, cos)
        return cos * std**2 / variance * x + std * sin * variance.rsqrt() * output

    def _variance(self, sin: Angles, cos: Angles) -> Angles:
        return (self.data_std * cos).square() + sin.square()


@dataclass(frozen=True)
class Update:
    """One step, from `time`: `point * x + present * clean + previous * last_clean + fresh * noise`."""

    time: float
    point: float
    present: float
    previous: float = 0.0
    fresh: float = 0.0


Sampler = Callable[[int, int], tuple[Update, ...]]
"""`(levels, steps) -> updates`: `ddim`, `ddpm` or `dpm_solver`."""


def ddim(levels: int, steps: int) -> tuple[Update, ...]:
    """Deterministic, first order."""
    return _denoising(levels, steps, eta=0.0)


def ddpm(levels: int, steps: int) -> tuple[Update, ...]:
    """Ancestral: fresh noise at every step but the last, with the posterior's variance."""
    return _denoising(levels, steps, eta=1.0)


def dpm_solver(levels: int, steps: int) -> tuple[Update, ...]:
    """DPM-Solver++ (2M): deterministic, second order at one evaluation a step."""
    # here and not above: it brings all of scipy.stats along
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    _check_steps(levels, steps)
    scheduler = DPMSolverMultistepScheduler(num_train_timesteps=levels, **_SCHEDULE)
    scheduler.set_timesteps(steps)
    updates = []
    for i, level in enumerate(scheduler.timesteps.tolist()):
        # estimates alternate between two axes, so that the present and the previous one can be told apart
        present, previous = 1 + i % 2, 2 - i % 2
        weights = scheduler.step(torch.eye(3)[present], level, torch.eye(3)[0], return_dict=False)[0].tolist()
        updates.append(Update(_time(level, levels), weights[0], weights[present], previous=weights[previous]))
    return tuple(updates)


def _denoising(levels: int, steps: int, *, eta: float) -> tuple[Update, ...]:
    _check_steps(levels, steps)
    scheduler = DDIMScheduler(num_train_timesteps=levels, clip_sample=False, **_SCHEDULE)
    scheduler.set_timesteps(steps)
    x, clean, noise = torch.eye(3)
    updates = []
    for level in scheduler.timesteps.tolist():
        fresh = {"eta": eta, "variance_noise": noise} if eta else {}
        weights = scheduler.step(clean, level, x, return_dict=False, **fresh)[0].tolist()
        updates.append(Update(_time(level, levels), weights[0], weights[1], fresh=weights[2]))
    return tuple(updates)


def _time(level: int, levels: int) -> float:
    return 1 - (level + 1) / levels


def _check_steps(levels: int, steps: int) -> None:
    # diffusers' DDIM moves by levels // steps from timesteps that are spaced by levels / steps
    if steps < 1 or levels % steps:
        fits = [n for n in range(1, levels + 1) if levels % n == 0]
        raise ConfigError(
            f"{steps} sampling steps do not divide the {levels} noise levels; take one of {fits}"
        )


def integrate(
    velocity: Velocity,
    noise: Points,
    updates: tuple[Update, ...],
    schedule: Schedule,
    *,
    draw: Noise | None = None,
    project: Project | None = None,
) -> Points:
    """Carry noise at time 0 to data at time 1.

    All rows and candidates advance together. As in `ops.flow.integrate`, guidance wraps `velocity`, and
    `project` puts points back where they must be.

    Args:
        velocity: of the probability flow.
        noise: where it starts.
        updates: of a sampler.
        schedule: the path.
        draw: where fresh noise comes from; needed by `ddpm` only.
        project: see above.

    Raises:
        ValueError: where fresh noise is wanted and there is no `draw`.
    """
    x, last = noise, None
    for update in updates:
        t = x.new_full(x.shape[:2], update.time)
        if project is not None:
            x = project(x, t)
        clean = schedule.clean(x, velocity(x, t), t)
        x = update.point * x + update.present * clean
        if update.previous and last is not None:
            x = x + update.previous * last
        if update.fresh:
            if draw is None:
                raise ValueError("this sampler draws fresh noise at every step; give it a `draw`")
            x = x + update.fresh * draw.normal(*x.shape)
        last = clean
    return x if project is None else project(x, x.new_ones(x.shape[:2]))

"""Rectified flow: the straight path between noise and data, and its integration.

Time 1 is data and 0 is noise, here and in every flow and diffusion file of the project. With noise z and
data a the path is `x_t = (1 - t) z + t a`, its velocity `a - z`, and the one-step estimate of the data from
anywhere on the way `x_t + (1 - t) v` (Liu et al., arXiv:2209.03003; Lipman et al., arXiv:2210.02747).

Points are as large as the chunks that they become, and each candidate has a time of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "B N H A"]
"""Noise, data, what lies between them, and velocities."""

Times = Float[Tensor, "B N"]
"""Of each point, in [0, 1]."""

Velocity = Callable[[Points, Times], Points]
"""`(x, t) -> dx/dt`."""

Solver = Callable[[Velocity, Points, Times, float], Points]
"""`(velocity, x, t, dt) -> x at t + dt`: one step."""

Path = Callable[[Points, Points, Times], Points]
"""`(noise, data, t) -> x`: the point at time t between them."""

Project = Callable[[Points, Times], Points]
"""`(x, t) -> x`: puts a point back where it must be at time t."""


def along(t: Times, x: Points) -> Float[Tensor, "B N 1 1"]:
    """`t` with trailing axes of size 1, so that it broadcasts over `x`."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def interpolate(noise: Points, data: Points, t: Times) -> Points:
    """The point at time `t` on the straight path from noise to data."""
    return torch.lerp(noise, data, along(t, data))


def target(noise: Points, data: Points) -> Points:
    """The velocity of the straight path, which the network regresses."""
    return data - noise


def clean(x: Points, velocity: Points, t: Times) -> Points:
    """The data to which `velocity` points from `x` at time `t`."""
    return x + (1 - along(t, x)) * velocity


def precondition(
    t: Float[Tensor, "*any"], data_std: float
) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"], Float[Tensor, "*any"]]:
    """What is known of the velocity before anything is learned: `v = skip x + out F(inner x)`.

    Were the data Gaussian with standard deviation s, the best linear guess of `a - z` from x_t would be
    `skip x_t`, and what it leaves over would have standard deviation `out`. A network F that predicts the
    rest sees inputs and targets of unit size at every time, and at t = 0 it plainly regresses the data
    (the preconditioning of Karras et al., arXiv:2206.00364, eq. 7, carried over to the straight path).

    Args:
        t: in [0, 1].
        data_std: s, of the normalised data.

    Returns:
        skip, out and inner at each time.
    """
    variance = (1 - t).square() + (t * data_std).square()
    skip = (t * data_std**2 - (1 - t)) / variance
    inner = variance.rsqrt()
    return skip, data_std * inner, inner


def euler(velocity: Velocity, x: Points, t: Times, dt: float) -> Points:
    """First order, one evaluation a step."""
    return x + dt * velocity(x, t)


def midpoint(velocity: Velocity, x: Points, t: Times, dt: float) -> Points:
    """Second order, two evaluations a step."""
    half = x + 0.5 * dt * velocity(x, t)
    return x + dt * velocity(half, t + 0.5 * dt)


def integrate(
    velocity: Velocity,
    noise: Points,
    steps: int,
    *,
    solver: Solver = euler,
    rho: float = 1.0,
    project: Project | None = None,
) -> Points:
    """Carry noise at time 0 to data at time 1 in K = `steps` steps, at the times `1 - (1 - i / K)^rho`.

    All rows and candidates advance together. Guidance wraps `velocity` (adding `weight * gradient`), so that
    weight 0 gives the base's bits; what must hold exactly at every time (a prefix already committed) is a
    `project`, applied before each step and at the end.

    Args:
        velocity: the field.
        noise: where it starts.
        steps: how many.
        solver: `euler` or `midpoint`.
        rho: 1 for equal steps; the larger, the shorter are those near the data (Karras et al.,
            arXiv:2206.00364, eq. 5, of the share of noise).
        project: see above.
    """
    x = noise
    times = [1 - (1 - i / steps) ** rho for i in range(steps + 1)]
    for now, then in pairwise(times):
        t = x.new_full(x.shape[:2], now)
        if project is not None:
            x = project(x, t)
        x = solver(velocity, x, t, then - now)
    return x if project is None else project(x, x.new_ones(x.shape[:2]))


def hold_prefix(noise: Points, prefix: Float[Tensor, "B P A"], path: Path = interpolate) -> Project:
    """A projection that keeps the first P steps on the path from their noise to `prefix`.

    Inpainting by replacement (Lugmayr et al., arXiv:2201.09865, without its resampling): the rest of the
    chunk is generated beside a prefix that is as noisy as it is itself.

    Args:
        noise: with which the integration starts.
        prefix: in the same coordinates.
        path: on which the integration goes.
    """
    length = prefix.shape[1]
    start, end = noise[:, :, :length], prefix[:, None].expand_as(noise[:, :, :length])

    def project(x: Points, t: Times) -> Points:
        return torch.cat([path(start, end, t), x[:, :, length:]], dim=2)

    return project

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.ops import diffusion

SCHEDULERS = {
    diffusion.ddim: (DDIMScheduler, {"clip_sample": False}),
    diffusion.ddpm: (DDPMScheduler, {"clip_sample": False, "variance_type": "fixed_small"}),
    diffusion.dpm_solver: (DPMSolverMultistepScheduler, {}),
}
LEVELS = 100


def network(x: torch.Tensor, level: torch.Tensor | int) -> torch.Tensor:
    """Some estimate of the data that depends on the point and on the level."""
    return torch.tanh(x.flip(-1) * 0.7 + 0.01 * level)


@pytest.mark.parametrize("sampler", SCHEDULERS, ids=lambda sampler: sampler.__name__)
@pytest.mark.parametrize("steps", [1, 2, 10, 25])
def test_samplers_step_as_diffusers_does(sampler, steps):
    make, options = SCHEDULERS[sampler]
    theirs = make(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
        **options,
    )
    theirs.set_timesteps(steps)
    start = torch.randn(1, 2, 4, 3, generator=torch.Generator().manual_seed(1))

    # DDPM draws from a generator of its own; the same numbers are given to ours
    x, generator = start, torch.Generator().manual_seed(2)
    drawn = torch.Generator().manual_seed(2)
    fresh = {"generator": generator} if sampler is diffusion.ddpm else {}
    for level in theirs.timesteps:
        x = theirs.step(network(x, level), level, x, **fresh).prev_sample

    class Draw:
        def normal(self, *shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=drawn)

        def uniform(self, *shape: int) -> torch.Tensor:
            raise AssertionError("a sampler draws no uniform noise")

    schedule = diffusion.Schedule(levels=LEVELS)

    def velocity(at: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        level = ((1 - t) * LEVELS - 1).round()[..., None, None]
        return schedule.velocity(at, network(at, level), t)

    ours = diffusion.integrate(velocity, start, sampler(LEVELS, steps), schedule, draw=Draw())
    torch.testing.assert_close(ours, x, atol=2e-5, rtol=1e-4)


PREDICTIONS = [diffusion.Epsilon(), diffusion.Sample(), diffusion.Residual()]


def test_time_0_is_noise_and_time_1_is_data():
    schedule = diffusion.Schedule(levels=LEVELS)
    noise, data = torch.randn(2, 1, 4, 3), torch.randn(2, 1, 4, 3)
    torch.testing.assert_close(schedule.interpolate(noise, data, torch.zeros(2, 1)), noise, atol=2e-3, rtol=0)
    assert torch.equal(schedule.interpolate(noise, data, torch.ones(2, 1)), data)
    assert (schedule.angles.diff() > 0).all()


@pytest.mark.parametrize("time", [0.0, 0.123, 0.5, 0.97])
def test_velocity_is_the_derivative_of_the_path_and_points_at_the_data(time):
    schedule = diffusion.Schedule(levels=LEVELS)
    schedule.angles = schedule.angles.double()
    noise, data = torch.randn(2, 2, 1, 4, 3, dtype=torch.float64)
    t = torch.full((2, 1), time + 0.003, dtype=torch.float64)  # between two levels
    x = schedule.interpolate(noise, data, t)
    velocity = schedule.velocity(x, data, t)
    ahead, behind = (schedule.interpolate(noise, data, t + d) for d in (1e-5, -1e-5))
    torch.testing.assert_close(velocity, (ahead - behind) / 2e-5, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(schedule.clean(x, velocity, t), data)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_prediction_gives_the_data(prediction):
    noise, data = torch.randn(2, 5, 1, 4, 3, dtype=torch.float64)
    angle = torch.linspace(0, 1.5, 5, dtype=torch.float64)[:, None, None, None]
    x = angle.cos() * data + angle.sin() * noise
    torch.testing.assert_close(prediction.clean(prediction.target(noise, data, angle), x, angle), data)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_data_without_noise_is_left_alone(prediction):
    x = torch.randn(5, 1, 4, 3)
    assert torch.equal(prediction.clean(torch.randn(5, 1, 4, 3), x, torch.zeros(5, 1, 1, 1)), x)


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_a_residual_has_unit_size_and_is_no_linear_function_of_the_point(std):
    noise, data = torch.randn(2, 7, 10_000, 1, 1, dtype=torch.float64)
    data = std * data
    angle = torch.linspace(0, torch.pi / 2, 7, dtype=torch.float64)[:, None, None, None].expand(
        7, 10_000, 1, 1
    )
    target = diffusion.Residual(data_std=std).target(noise, data, angle)
    x = angle.cos() * data + angle.sin() * noise
    torch.testing.assert_close(target.std((1, 2, 3)), torch.ones(7, dtype=torch.float64), atol=0.03, rtol=0)
    assert ((target * x).mean((1, 2, 3)).abs() < 0.03).all()


def test_a_residual_at_unit_deviation_is_minus_v():
    noise, data, angle = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2), torch.rand(4, 1, 1, 1)
    v = angle.cos() * noise - angle.sin() * data
    torch.testing.assert_close(diffusion.Residual(data_std=1.0).target(noise, data, angle), -v)


def test_samplers_reach_a_gaussian():
    """Where the data is N(m, s^2) the best estimate is known; samples must have that mean and deviation."""
    mean, std = 0.5, 0.3
    schedule = diffusion.Schedule(levels=LEVELS)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        angle, _ = schedule.at(t[..., None, None])
        gain = std**2 * angle.cos() / (std**2 * angle.cos() ** 2 + angle.sin() ** 2)
        return schedule.velocity(x, mean + gain * (x - mean * angle.cos()), t)

    for sampler in SCHEDULERS:
        draw = EpisodeNoise(seeds=[0], ticks=[0])
        start = draw.normal(1, 40_000, 1, 1)  # its own error must be small beside what is asserted
        out = diffusion.integrate(velocity, start, sampler(LEVELS, LEVELS), schedule, draw=draw)
        assert abs(out.mean() - mean) < 0.02, sampler.__name__
        assert abs(out.std() - std) < 0.02, sampler.__name__


@pytest.mark.parametrize("steps", [0, 7, 101])
def test_steps_divide_the_levels(steps):
    for sampler in SCHEDULERS:
        with pytest.raises(ConfigError, match=f"{steps} sampling steps"):
            sampler(LEVELS, steps)


def test_fresh_noise_must_come_from_somewhere():
    schedule = diffusion.Schedule(levels=LEVELS)
    with pytest.raises(ValueError, match="draw"):
        diffusion.integrate(lambda x, t: x, torch.zeros(1, 1, 2, 2), diffusion.ddpm(LEVELS, 4), schedule)

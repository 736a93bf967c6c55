import pytest
import torch

from profiler.analysis.error import esr
from profiler.model.losses import (
    RESOLUTIONS,
    STFT_WEIGHT,
    mean_squared_error,
    stft_distance,
    training_loss,
)

GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.randn(4096, generator=GENERATOR)
ESTIMATE = TARGET + 0.1 * torch.randn(4096, generator=GENERATOR)


def test_for_a_target_of_unit_power_the_squared_error_is_the_esr():
    target = TARGET / TARGET.square().mean().sqrt()
    expected = esr(target.numpy(), ESTIMATE.numpy())
    assert float(mean_squared_error(ESTIMATE, target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("resolution", range(len(RESOLUTIONS)))
def test_spectra_of_a_gain_error_differ_by_the_gain(resolution):
    # convergence |1 - g|, log distance |ln g|
    expected = 0.5 + abs(torch.log(torch.tensor(1.5)).item())
    assert float(stft_distance(1.5 * TARGET, TARGET, resolution)) == pytest.approx(expected, 1e-4)


@pytest.mark.parametrize("step", range(len(RESOLUTIONS)))
def test_the_gradient_is_that_of_error_and_spectra_together(step):
    error, gradient = training_loss(ESTIMATE, TARGET, step)
    direction = torch.randn(4096, generator=torch.Generator().manual_seed(1)).double()

    def loss(scale):
        moved, target = ESTIMATE.double() + scale * direction, TARGET.double()
        return mean_squared_error(moved, target) + STFT_WEIGHT * stft_distance(moved, target, step)

    width = 1e-6
    slope = (loss(width) - loss(-width)) / (2 * width)
    assert float(gradient.double() @ direction) == pytest.approx(float(slope), rel=1e-3)
    assert error == pytest.approx(float(mean_squared_error(ESTIMATE, TARGET)))


def test_silence_in_target_and_estimate_has_a_finite_gradient():
    silence = torch.zeros(4096)
    for step in range(len(RESOLUTIONS)):
        _, gradient = training_loss(silence, silence, step)
        assert torch.isfinite(gradient).all()

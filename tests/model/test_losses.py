import numpy as np
import pytest
import torch

from profiler.analysis.error import esr
from profiler.model.losses import LOSSES, RESOLUTIONS, Loss, LossOptions, stft_distance

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.standard_normal(4096).astype(np.float32)
TARGET /= np.sqrt(np.mean(TARGET**2))
ESTIMATE = TARGET + np.float32(0.1) * RANDOM.standard_normal(4096).astype(np.float32)

every_resolution = pytest.mark.parametrize("resolution", range(len(RESOLUTIONS)))


def distance_by_torch(estimate, target, resolution):
    length, hop, window = RESOLUTIONS[resolution]

    def magnitudes(signal):
        shape = torch.hann_window(window, dtype=signal.dtype)
        spectrum = torch.stft(signal, length, hop, window, shape, center=False, return_complex=True)
        return torch.clamp(spectrum.abs(), min=1e-3)

    wanted, found = magnitudes(target), magnitudes(estimate)
    convergence = torch.linalg.norm(wanted - found) / torch.linalg.norm(wanted)
    return convergence + torch.mean(torch.abs(torch.log(wanted) - torch.log(found)))


def loss_by_torch(options, power, estimate, target, step):
    error = estimate - target
    emphasised = error.clone()
    emphasised[1:] -= options.pre_emphasis * error[:-1]
    squared = torch.mean(emphasised**2) / power
    whole = squared + options.dc * torch.mean(error) ** 2
    if step % 2:
        return whole
    return whole + 2 * options.stft * distance_by_torch(estimate, target, step // 2 % 3)


def test_for_a_target_of_unit_power_the_squared_error_is_the_esr():
    squared, _ = Loss(LossOptions())(ESTIMATE, TARGET, 0)
    assert squared == pytest.approx(esr(TARGET, ESTIMATE), rel=1e-5)


def test_pre_emphasised_the_squared_error_is_re_the_pre_emphasised_power():
    squared, _ = Loss(LossOptions(pre_emphasis=0.95), [TARGET])(0 * TARGET, TARGET, 0)
    assert squared == pytest.approx(1.0, rel=1e-5)


@every_resolution
def test_spectra_of_a_gain_error_differ_by_the_gain(resolution):
    # convergence |1 - g|, log distance |ln g|
    expected = 0.5 + np.log(1.5)
    value, _ = stft_distance(np.float32(1.5) * TARGET, TARGET, resolution)
    assert value == pytest.approx(expected, 1e-4)


@every_resolution
def test_distance_and_gradient_are_those_of_torch_and_autograd(resolution):
    value, gradient = stft_distance(ESTIMATE, TARGET, resolution)
    variable = torch.from_numpy(ESTIMATE).double().requires_grad_()
    expected = distance_by_torch(variable, torch.from_numpy(TARGET).double(), resolution)
    (slope,) = torch.autograd.grad(expected, variable)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    assert np.linalg.norm(gradient - slope.numpy()) < 1e-4 * np.linalg.norm(slope.numpy())


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize(
    "options", [*LOSSES.values(), LossOptions(stft=0.1, dc=2.0, pre_emphasis=0.5)]
)
def test_the_gradient_is_that_of_all_parts_together(options, step):
    loss = Loss(options, [TARGET])
    error, gradient = loss(ESTIMATE + np.float32(0.05), TARGET, step)
    variable = torch.from_numpy(ESTIMATE + np.float32(0.05)).double().requires_grad_()
    whole = loss_by_torch(options, loss._power, variable, torch.from_numpy(TARGET), step)
    (slope,) = torch.autograd.grad(whole, variable)
    assert np.linalg.norm(gradient - slope.numpy()) < 1e-4 * np.linalg.norm(slope.numpy())
    assert error <= whole.item() * (1 + 1e-5)


def test_where_nothing_is_wrong_nothing_is_to_be_changed():
    for step in range(6):
        error, gradient = Loss(LossOptions(dc=1.0))(TARGET, TARGET, step)
        assert error == 0.0
        assert not gradient.any()


def test_silence_in_target_and_estimate_has_a_finite_gradient():
    silence = np.zeros(4096, np.float32)
    for step in range(6):
        _, gradient = Loss(LossOptions())(silence, silence, step)
        assert np.isfinite(gradient).all()

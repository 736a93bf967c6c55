import numpy as np
import pytest

from profiler.analysis.error import (
    esr,
    esr_preemphasised,
    floor_esr,
    pre_emphasised,
    replicate_esr,
    rmse,
)

RANDOM = np.random.default_rng(1)
TARGET = RANDOM.standard_normal(20_000)


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 4.0), (1.1, 0.01)])
def test_an_estimate_with_a_gain_error_has_the_esr_of_its_square(gain, expected):
    assert esr(TARGET, gain * TARGET) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", [esr, esr_preemphasised])
def test_a_ratio_does_not_depend_on_the_recording_gain(measure):
    estimate = TARGET + 0.1 * RANDOM.standard_normal(TARGET.size)
    assert measure(1e-3 * TARGET, 1e-3 * estimate) == pytest.approx(measure(TARGET, estimate))


def test_float32_signals_are_summed_in_float64():
    target = np.ones(10**7, np.float32)
    assert esr(target, np.float32(0.999) * target) == pytest.approx(1e-6, rel=1e-4)


def test_pre_emphasis_weighs_an_error_by_the_filter_s_gain_at_its_frequency():
    n = np.arange(48_000)
    low, high = np.sin(2 * np.pi * 100 * n / 48_000), np.sin(2 * np.pi * 10_000 * n / 48_000)
    gains = [abs(1 - 0.95 * np.exp(-2j * np.pi * f / 48_000)) ** 2 for f in (100, 10_000)]
    expected = 0.01 * gains[1] / gains[0]
    # the filter's start from rest is one sample of 48 000
    assert esr_preemphasised(low, low + 0.1 * high) == pytest.approx(expected, rel=1e-2)


def test_pre_emphasis_of_an_impulse_is_the_filter():
    assert pre_emphasised([1.0, 0.0, 0.0]) == pytest.approx([1.0, -0.95, 0.0])


def test_rmse_of_a_constant_offset_is_the_offset():
    assert rmse(TARGET, TARGET + 0.25) == pytest.approx(0.25)


def test_the_floor_is_the_esr_of_the_best_model_under_independent_noise():
    noise = 0.05
    first, second = (TARGET + noise * RANDOM.standard_normal(TARGET.size) for _ in range(2))
    best_model = TARGET  # knows the device, not its noise
    # 20 000 samples determine a power to 1 %
    assert floor_esr(replicate_esr(first, second)) == pytest.approx(
        esr(first, best_model), rel=0.03
    )


def test_the_replicate_esr_does_not_depend_on_the_order_of_the_passes():
    first, second = TARGET, 1.1 * TARGET
    assert replicate_esr(first, second) == replicate_esr(second, first)


@pytest.mark.parametrize("measure", [esr, esr_preemphasised, replicate_esr])
def test_silence_has_no_ratio(measure):
    with pytest.raises(ValueError, match="silent"):
        measure(np.zeros(10), np.zeros(10))


@pytest.mark.parametrize("measure", [esr, rmse, replicate_esr])
@pytest.mark.parametrize("other", [np.ones(9), np.ones((10, 1)), np.empty(0)])
def test_signals_of_different_shape_are_refused(measure, other):
    with pytest.raises(ValueError, match="one length"):
        measure(np.ones(10), other)

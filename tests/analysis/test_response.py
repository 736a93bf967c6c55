import numpy as np
import pytest
from scipy import signal

from profiler.analysis.response import sweep_response
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render


def captured(name, device, rate=48_000):
    plan = load_signal(name).plan(rate)
    stimulus = render(plan).astype(np.float64)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = device(stimulus).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_known_filters_are_measured_within_a_hundredth_of_a_db(rate):
    filters = np.concatenate(
        [
            signal.butter(2, 120, "high", fs=rate, output="sos"),
            signal.butter(2, 5000, fs=rate, output="sos"),
        ]
    )
    response = sweep_response(captured("sweep", lambda x: signal.sosfilt(filters, x), rate))
    _, truth = signal.sosfreqz(filters, response.frequencies, fs=rate)
    middle = (response.frequencies > 100) & (response.frequencies < 15_000)
    level = 20 * np.log10(np.abs(truth))
    np.testing.assert_allclose(response.magnitude_db[middle], level[middle], atol=0.01)
    apart = np.angle(np.exp(1j * (response.phase - np.angle(truth))))
    np.testing.assert_allclose(apart[middle], 0.0, atol=0.003)


def test_harmonics_of_a_polynomial_are_chebyshev_s():
    level = 10 ** (next(load_signal("sweep").plan(48_000).of_kind("sweep")).segment.level_dbfs / 20)

    def device(x):
        return x + 0.1 * x**2 / level + 0.05 * x**3 / level**2

    response = sweep_response(captured("sweep", device))
    middle = (response.frequencies > 100) & (response.frequencies < 5000)
    for measured, truth in (
        (response.magnitude_db, 1 + 0.05 * 3 / 4),
        (response.second_db, 0.1 / 2),
        (response.third_db, 0.05 / 4),
    ):
        assert np.median(measured[middle]) == pytest.approx(20 * np.log10(truth), abs=0.05)


def test_harmonics_above_half_the_rate_are_not_a_number():
    response = sweep_response(captured("sweep", lambda x: x))
    assert np.isnan(response.third_db[-1])
    assert np.isfinite(response.magnitude_db[-1])


def test_a_plan_without_a_sweep_is_refused():
    with pytest.raises(CaptureError, match="holds no sweep"):
        sweep_response(captured("a440", lambda x: x))

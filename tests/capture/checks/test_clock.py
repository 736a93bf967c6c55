"""Clocks are measured against clocks that are known."""

import numpy as np
import pytest
import scipy.fft

from profiler.capture.alignment import align
from profiler.capture.checks import clock
from profiler.capture.checks.check import check
from profiler.rig.faults import Fault, inject
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render
from tests.capture.checks.faulty import (
    LATENCY,
    RATE,
    RIGS,
    clean,
    evidence,
    names,
    recorded,
    with_fault,
)

every_rig = pytest.mark.parametrize("rig_name", RIGS)


@every_rig
def test_nothing_is_found_in_a_clean_take(rig_name):
    for seed in range(4):
        assert list(clock.findings(clean(rig_name, seed))) == []


@every_rig
@pytest.mark.parametrize("ppm", [0.5, -0.5, 40.0])
def test_a_drift_is_found_with_its_size(rig_name, ppm):
    found = list(clock.findings(with_fault(rig_name, 1, "clock-drift", strength=ppm)))
    assert names(found) == ["clock-drift"]
    assert found[0].measured == pytest.approx(ppm, abs=0.05)


def minute():
    """A minute of programme between markers, and its samples."""
    plan = load_signal("quick").plan(RATE).bracketed()
    return plan, render(plan).astype(np.float64)


def saturated(signal):
    """tanh(20 x) between the converters' low passes, four times oversampled."""
    n = scipy.fft.next_fast_len(len(signal), real=True)
    fine = 4 * scipy.fft.irfft(scipy.fft.rfft(signal, n), 4 * n)
    bent = scipy.fft.rfft(0.3 * np.tanh(20 * fine))[: n // 2 + 1] / 4
    bent[int(0.9 * len(bent)) :] = 0.0
    return scipy.fft.irfft(bent, n)[: len(signal)]


@pytest.mark.parametrize(("device", "tolerance"), [(np.array, 0.01), (saturated, 0.05)])
def test_the_drift_of_a_minute_is_known_to_a_hundredth_and_through_distortion_a_twentieth_ppm(
    device, tolerance
):
    plan, stimulus = minute()
    late = np.concatenate([np.zeros(LATENCY), device(stimulus)])[: len(stimulus)]
    rng = np.random.default_rng(3)
    for ppm in (0.0, 0.13, -0.15):
        fault = {"clock-drift": Fault(strength=ppm)}
        drifting = inject(plan, stimulus, late, fault) if ppm else late
        noisy = drifting + 1e-4 * rng.standard_normal(len(drifting))
        found = align(plan, stimulus, noisy)
        assert found.drift_ppm == pytest.approx(ppm, abs=tolerance)
        assert found.drift_sigma_ppm < tolerance


@every_rig
@pytest.mark.parametrize("ratio", [48_000 / 44_100, 44_100 / 48_000, 2.0])
def test_a_wrong_rate_is_found_with_its_ratio(rig_name, ratio):
    found = check(with_fault(rig_name, 2, "wrong-rate", strength=ratio))
    assert names(found.findings)[:1] == ["wrong-rate"]
    assert found.findings[0].measured == pytest.approx(ratio, rel=1e-4)


def test_a_latency_that_is_not_the_calibrated_one_is_found():
    for change in (2.0, -2.0, 300.0):
        plan, stimulus, response = recorded("wire", 3)
        found = list(
            clock.findings(
                evidence(
                    "wire", plan, stimulus, response, calibrated_delay_samples=1234.567 - change
                )
            )
        )
        assert names(found) == ["latency-changed"]
        assert found[0].measured == pytest.approx(change, abs=0.05)


def test_a_latency_within_a_sample_of_the_calibrated_one_is_not_accused():
    for rig_name in RIGS:
        plan, stimulus, response = recorded(rig_name, 4)
        for calibrated in (1234.0, 1235.2):
            known = evidence(
                rig_name, plan, stimulus, response, calibrated_delay_samples=calibrated
            )
            assert list(clock.findings(known)) == []

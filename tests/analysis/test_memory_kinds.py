"""Devices of which the memory is known, and what is said of them."""

import functools
import math

import numpy as np
import pytest
from scipy import signal

from profiler.analysis.gain_recovery import GainRecovery
from profiler.analysis.memory_kinds import memory_kinds
from profiler.analysis.settling import settling
from profiler.analysis.time_constants import TimeConstant, TimeConstants
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render

RATE = 44_100

ALIGNED = Alignment(
    delay_samples=0.0, sigma_samples=0.0, polarity=1, reference="given", drift_ppm=None, markers=()
)


@functools.cache
def plan_of(pumps=True, gain_db=0.0):
    burst = {"kind": "burst", "use": "analyse", "before_seconds": 0.2, "after_seconds": 0.4}
    pump = {"kind": "pump", "use": "analyse", "before_seconds": 0.3, "after_seconds": 0.6}
    segments = [
        burst | {"name": "soft", "level_dbfs": -18.0},
        burst | {"name": "hard", "level_dbfs": -3.0},
    ]
    levels = ((-21.0, 0.5), (-15.0, 0.5), (-9.0, 0.5), (-3.0, 0.5), (-3.0, 0.02))
    if pumps:
        segments += [
            pump | {"name": f"pump {k}", "level_dbfs": level, "tone_seconds": seconds}
            for k, (level, seconds) in enumerate(levels)
        ]
    definition = SignalDefinition.model_validate({"name": "s", "segments": segments})
    return definition.plan(RATE, gain_db=gain_db)


def memory(device, *, pumps=True, gain=1.0, noise=1e-5, level_db=0.0):
    plan = plan_of(pumps, level_db)
    played = render(plan)
    # each segment finds the device at rest, as it would after a longer pause
    response = np.concatenate([device(played[p.slice].astype(np.float64)) for p in plan.placed()])
    response += noise * np.random.default_rng(0).standard_normal(len(response))
    capture = AlignedCapture(plan, ALIGNED, played, (gain * response).astype(np.float32))
    return settling(capture).memory


def static(x):
    return np.tanh(4 * x) + 0.1 * np.abs(x) * x


def coupled(x):
    """A capacitor, 20 ms, and a filter: linear."""
    pole = math.exp(-1 / (0.02 * RATE))
    return signal.lfilter([1, -1], [1, -pole], x)


def coupled_static(x):
    return coupled(np.tanh(4 * x) + 0.3 * np.tanh(4 * x) ** 2)


def blocking(x, tau=0.025, knee=0.05):
    """A coupling capacitor into a grid that conducts above a knee: charged in a millisecond by what
    is above, let go through the leak; a triode's curve after it."""
    charge = 0.0
    release = math.exp(-1 / (tau * RATE))
    take = 1 - math.exp(-1 / (0.001 * RATE))
    bias = np.empty(len(x))
    for n, volts in enumerate(x.tolist()):
        over = volts - charge - knee
        charge = charge + take * over if over > 0.0 else charge * release
        bias[n] = charge
    grid = x - bias
    return np.tanh(3 * np.minimum(grid, knee) + 0.4) - math.tanh(0.4)


def sag(x, tau=0.08, depth=0.5):
    """A supply node that falls by the rectified current; both half-waves get what is left of it."""
    volts, step = 1.0, 1 / (tau * RATE)
    out = np.empty(len(x))
    for n, each in enumerate(np.tanh(3 * x).tolist()):
        out[n] = volts * each
        volts += step * (1.0 - depth * abs(each) - volts)
    return out


def bias_shift(x, tau=0.04):
    """A cathode's capacitor: the mean current shifts the bias."""
    shift, step = 0.0, 1 / (tau * RATE)
    rest = math.exp(0.3)
    out = np.empty(len(x))
    for n, each in enumerate(x.tolist()):
        current = min(math.exp(0.3 + 3 * (each - shift)), 3.0) - rest
        out[n] = current
        shift += step * (0.4 * current - shift)
    return out


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        (lambda x: x, "none"),
        (static, "none"),
        (coupled, "linear"),
        (coupled_static, "linear"),
        (blocking, "blocking"),
        (sag, "sag"),
        (bias_shift, "bias shift"),
    ],
    ids=["wire", "static", "coupled", "coupled_static", "blocking", "sag", "bias_shift"],
)
def test_a_device_is_known_by_its_memory(device, kind):
    found = memory(device)
    assert found.kind == kind, found
    assert found.gain_changes == (kind in ("blocking", "sag", "bias shift"))


@pytest.mark.parametrize("tau", [0.02, 0.04])
def test_blocking_is_told_at_any_constant_and_so_is_its_growth(tau):
    found = memory(functools.partial(blocking, tau=tau))
    assert found.kind == "blocking"
    assert found.build_up > 0.9
    assert found.second_harmonic > 0.5
    # later by about tau for each factor e, once the level is well above the threshold
    assert 0.8e3 * tau < found.growth_ms < 1.6e3 * tau


@pytest.mark.parametrize("tau", [0.03, 0.12])
@pytest.mark.parametrize("depth", [0.2, 0.8])
def test_sag_is_told_at_any_constant_and_depth(tau, depth):
    found = memory(functools.partial(sag, tau=tau, depth=depth))
    assert found.kind == "sag"
    assert found.build_up == pytest.approx(found.build_up_one_constant, abs=0.15)
    assert found.second_harmonic < 0.1


@pytest.mark.parametrize("device", [blocking, sag, coupled_static])
@pytest.mark.parametrize("gain", [-1.0, 0.01])
def test_neither_gain_nor_polarity_of_the_recording_matters(device, gain):
    plain, other = memory(device), memory(device, gain=gain)
    assert other.kind == plain.kind
    assert other.departure_db == pytest.approx(plain.departure_db, abs=0.01)


def test_noise_hides_a_memory_before_it_makes_one_up():
    hidden = memory(coupled, noise=1e-2)
    assert hidden.gain_changes is None
    assert hidden.kind == "undecided"
    assert "noise hides the probe" in hidden.because
    found = memory(coupled, noise=2e-4)
    assert found.kind == "linear"
    assert found.tails_scale


def test_a_softer_signal_finds_no_blocking_below_the_threshold():
    found = memory(blocking, level_db=-30.0)
    assert found.kind == "none"
    assert not found.gain_changes


@pytest.mark.parametrize(
    ("device", "kind"), [(static, "none"), (coupled, "linear"), (sag, "undecided")]
)
def test_without_a_pump_less_is_known_and_the_signal_that_tells_is_named(device, kind):
    found = memory(device, pumps=False)
    assert found.kind == kind
    assert found.gain_changes is None
    assert "settling" in found.because


def recovery(level_dbfs, recovery_ms, departure_db=-3.0, tone_ms=1000.0, tau_ms=25.0):
    constant = TimeConstant(tau_ms=tau_ms, low_ms=tau_ms - 1, high_ms=tau_ms + 1, share=0.3)
    return GainRecovery(
        name="p",
        level_dbfs=level_dbfs,
        frequency=440.0,
        probe_frequency=3300.0,
        tone_ms=tone_ms,
        under_db=-6.0,
        departure_db=departure_db,
        sigma_db=0.001,
        recovery_ms=recovery_ms,
        at_least_ms=None,
        recovering=TimeConstants(constants=(constant,)),
    )


def test_the_growth_of_recovery_is_the_slope_against_the_logarithm_of_the_level():
    tau, threshold = 24.0, -40.0
    found = memory_kinds(
        [],
        [
            recovery(level, tau * (level - threshold) / 20 * math.log(10))
            for level in (-27.0, -18.0, -9.0, -3.0)
        ],
    )
    assert found.growth_ms == pytest.approx(tau)
    assert found.threshold_dbfs == pytest.approx(threshold)


def test_recovery_that_does_not_grow_with_the_level_has_no_growth():
    found = memory_kinds([], [recovery(level, 100.0) for level in (-27, -18, -9, -3)])
    assert found.growth_ms is None
    assert found.threshold_dbfs is None


def test_a_short_burst_that_could_be_either_is_undecided():
    # 20 ms of a constant of 10 ms: 86 % would be there of a supply, too
    both = [recovery(-3.0, 80.0, tau_ms=10.0), recovery(-3.0, 75.0, -2.7, 20.0, tau_ms=10.0)]
    found = memory_kinds([], both)
    assert found.kind == "undecided"
    assert found.build_up == pytest.approx(0.9)
    assert found.build_up_one_constant == pytest.approx(1 - math.exp(-2))
    assert "too near to tell" in found.because


def test_without_a_short_burst_it_is_undecided_and_said_why():
    found = memory_kinds([], [recovery(-3.0, 80.0)])
    assert found.kind == "undecided"
    assert "no short and long burst" in found.because

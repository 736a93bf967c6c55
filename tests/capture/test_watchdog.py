"""The watchdog: clean takes of every kind are left alone, and each fault ends a take."""

import functools
import re

import numpy as np
import pytest
import scipy.signal

from profiler.capture.watchdog import Watchdog
from profiler.errors import SafetyStop
from profiler.rig.faults import Fault
from profiler.rig.rig import load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import SignalPlan, Silence, Sine, Sweep, TwinTone, load_signal
from profiler.stimulus.synthesis import render
from profiler.units import db_to_amplitude

RATE = 48_000
BLOCK = 1024

SIGNALS = ("settling", "standard", "quick", "check", "a440", "levels", "sweep", "latency")
# The amps take seconds to compute: of the long signals only the wire is heard here.
CLEAN = [("wire", signal) for signal in SIGNALS]
CLEAN += [(rig, signal) for rig in ("drive", "tweed") for signal in SIGNALS[3:]]


@functools.cache
def planned(signal, rate=RATE):
    plan = load_signal(signal).plan(rate).bracketed()
    return plan, render(plan)


def rig_with(name, **interface):
    rig = load_rig(name)
    update = {"loopback_channel": None, "noise_rms_dbfs": -110.0} | interface
    return rig.model_copy(update={"interface": rig.interface.model_copy(update=update)})


@functools.cache
def clean(rig, signal):
    """What comes back, its peak at 0 dBFS, all but noiseless."""
    plan, stimulus = planned(signal)
    heard = []
    Simulated(rig_with(rig)).play_record(
        [stimulus], plan.frames, lambda block: heard.append(block.samples[:, 0])
    )
    response = np.concatenate(heard)
    return response / np.max(np.abs(response))


def with_noise(response, noise_dbfs, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(response))
    return response + db_to_amplitude(noise_dbfs) * noise


def objection(plan, stimulus, response, block_size=BLOCK):
    """What the watchdog says to a take, and the second at which it does."""
    watchdog = Watchdog(plan)
    feeder = watchdog.follow(np.array_split(stimulus, 1 + len(stimulus) // 5000))
    fed = 0
    for frame in range(0, len(response), block_size):
        while fed < min(frame + block_size, len(stimulus)):
            fed += len(next(feeder))
        block = response[frame : frame + block_size, np.newaxis].astype(np.float32)
        stop = watchdog(block, frame)
        if stop is not None:
            return stop, frame / plan.sample_rate
    return None, None


@pytest.mark.parametrize(("rig", "signal"), CLEAN)
def test_leaves_a_clean_take_alone_at_any_gain_noise_and_polarity(rig, signal):
    plan, stimulus = planned(signal)
    random = np.random.default_rng(len(rig) + len(signal))
    for polarity in (1, -1):
        gain_db, noise_dbfs = random.uniform(-25.0, -1.0), random.uniform(-110.0, -60.0)
        response = polarity * db_to_amplitude(gain_db) * clean(rig, signal)
        stop, _ = objection(plan, stimulus, with_noise(response, noise_dbfs))
        assert stop is None, f"{gain_db:.0f} dB, noise {noise_dbfs:.0f} dBFS"


@pytest.mark.parametrize("gain_db", [-1.0, -25.0])
@pytest.mark.parametrize("rig", ["wire", "drive", "tweed"])
def test_leaves_a_clean_take_alone_at_the_edges_of_gain_and_noise(rig, gain_db):
    plan, stimulus = planned("check")
    response = db_to_amplitude(gain_db) * clean(rig, "check")
    assert objection(plan, stimulus, with_noise(response, -60.0)) == (None, None)


@pytest.mark.parametrize(
    ("rate", "latency"), [(44_100, 32), (44_100, 10_000), (192_000, 32), (192_000, 10_000)]
)
def test_leaves_a_clean_take_alone_at_any_rate_and_latency(rate, latency):
    plan, stimulus = planned("check", rate)
    response = 0.5 * np.concatenate((np.zeros(latency), stimulus))[: plan.frames]
    assert objection(plan, stimulus, with_noise(response, -90.0)) == (None, None)


@pytest.mark.parametrize("signal", SIGNALS)
def test_leaves_a_perfect_wire_alone(signal):
    """Without any noise equal samples and exact zeros come again and again."""
    plan, stimulus = planned(signal)
    assert objection(plan, stimulus, np.roll(stimulus, 256)) == (None, None)


def test_does_not_depend_on_the_size_of_the_blocks():
    plan, stimulus = planned("check")
    response = with_noise(0.5 * clean("wire", "check"), -80.0)
    response[14 * RATE :] *= db_to_amplitude(-45.0)
    said = [objection(plan, stimulus, response, size)[0] for size in (64, 441, 8192)]
    assert all(isinstance(stop, SafetyStop) for stop in said)
    assert len({str(stop) for stop in said}) == 1


# -- each fault, through the simulated interface ----------------------------------------


def stopped(rig, faults, signal="check"):
    """What the error says that ends a take, and the seconds that were kept of it."""
    plan, stimulus = planned(signal)
    interface = Simulated(
        rig_with(rig, noise_rms_dbfs=-100.0, faults={k: Fault(**v) for k, v in faults.items()})
    )
    watchdog = Watchdog(plan)
    kept = []
    with pytest.raises(SafetyStop) as raised:
        interface.play_record(
            watchdog.follow([stimulus]),
            plan.frames,
            lambda block: kept.append(len(block.samples)),
            watchdog,
        )
    return str(raised.value), sum(kept) / RATE


@pytest.mark.parametrize("rig", ["wire", "drive"])
@pytest.mark.parametrize(
    ("fault", "latest", "message"),
    [
        # at the head marker through a wire, in the silence that follows through the amp
        ({"feedback": {"at_seconds": 0.0}}, 1.5, "feedback.*monitoring off|if it squeals"),
        ({"return-clipped": {"strength": -20.0}}, 3.2, r"clipped at -20\.0 dBFS.*input gain"),
        # in the next silence, which is the one after the sweep
        ({"dc-step": {"at_seconds": 4.0}}, 7.5, r"offset of -4\d\.\d dBFS.*phantom"),
        ({"standby": {"at_seconds": 16.5}}, 18.0, "fell to .* dBFS RMS, .*standby"),
        ({"no-signal": {"at_seconds": 16.5}}, 18.0, "fell to .* dBFS RMS, .*cable"),
    ],
)
def test_a_fault_ends_the_take_and_the_part_is_kept(rig, fault, latest, message):
    (settings,) = fault.values()
    said, kept = stopped(rig, fault)
    assert re.search(message, said)
    assert settings.get("at_seconds", 0.0) < kept < latest


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_not_finite_ends_the_take_in_its_block(bad):
    plan, stimulus = planned("latency")
    response = 0.5 * stimulus
    response[RATE] = bad
    stop, at = objection(plan, stimulus, response)
    assert "no numbers" in str(stop)
    assert at == RATE // BLOCK * BLOCK / RATE


def test_clipping_is_stopped_after_50_ms_and_not_before():
    tone = Sine(name="tone", kind="sine", use="analyse", level_dbfs=0.0, frequency=220.0, seconds=1)
    rest = Silence(name="rest", kind="silence", use="analyse", seconds=1.0)
    plan = SignalPlan(name="tone", sample_rate=RATE, segments=(rest, tone))
    stimulus = render(plan)
    for milliseconds, stops in ((30, False), (60, True)):
        response = 0.5 * stimulus
        hot = slice(round(1.5 * RATE), round((1.5 + milliseconds / 1e3) * RATE))
        response[hot] = np.clip(4.0 * response[hot], -1.0, 1.0)
        stop, at = objection(plan, stimulus, with_noise(response, -100.0), block_size=64)
        assert (stop is not None) == stops
        assert at is None or 1.55 <= at < 1.562


def test_a_tail_that_dies_away_is_no_feedback():
    """A spring reverb of 3 s, as loud as the direct sound."""
    plan, stimulus = planned("check")
    decay = 10.0 ** (-3.0 * np.arange(3 * RATE) / (3 * RATE))
    spring = np.random.default_rng(1).standard_normal(3 * RATE) * decay
    spring[0] = np.linalg.norm(spring)
    response = scipy.signal.fftconvolve(stimulus, spring)[: plan.frames]
    response *= 0.5 / np.max(np.abs(response))
    assert objection(plan, stimulus, with_noise(response, -90.0)) == (None, None)


def test_a_constant_is_an_offset_and_no_clipping():
    plan, stimulus = planned("latency")
    stop, at = objection(plan, stimulus, 0.3 * stimulus + 0.1)
    assert "offset of -20.0 dBFS" in str(stop)
    assert at < 0.2


def test_a_stretch_of_a_stimulus_is_watched_in_the_times_of_the_whole():
    plan, stimulus = planned("levels")
    response = with_noise(0.5 * stimulus, -90.0)
    begins, stop = 4 * RATE, 9 * RATE
    response[8 * RATE :] = 1.0
    watchdog = Watchdog(plan, frames=stop - begins, begins=begins)
    list(watchdog.follow([stimulus[begins:stop]]))
    objections = (
        watchdog(response[at : at + BLOCK, np.newaxis].astype(np.float32), at - begins)
        for at in range(begins, stop, BLOCK)
    )
    assert "at 8.06 s the return is clipped" in str(next(filter(None, objections)))


@pytest.mark.parametrize("begins", [-RATE, 0, 2 * RATE])
def test_the_sweep_is_not_judged_wherever_the_pass_begins(begins):
    """Through a device that passes high notes only, a sweep begins 60 dB below a tone."""
    sweep = Sweep(name="sweep", kind="sweep", use="analyse", level_dbfs=-12.0, seconds=4.0)
    tone = Sine(name="tone", kind="sine", use="analyse", level_dbfs=-12.0, frequency=1e3, seconds=6)
    _nothing_is_objected_to(tone, sweep, "highpass", begins)


def test_two_tones_are_not_judged():
    """What passes low notes only, a loudspeaker, loses the twin tone of 19 and 20 kHz."""
    high = {"first_hz": 19_000.0, "second_hz": 20_000.0, "ratio": 1.0, "seconds": 4.0}
    levels = {"level_dbfs": -12.0, "lowest_dbfs": -14.0, "steps": 2}
    twin = TwinTone(name="twin", kind="twin-tone", use="analyse", **high, **levels)
    # as loud as the twin tone, which is 3 dB below a sine of its peak
    tone = Sine(name="tone", kind="sine", use="analyse", level_dbfs=-17.0, frequency=300, seconds=6)
    _nothing_is_objected_to(tone, twin, "lowpass", 0)


def _nothing_is_objected_to(tone, segment, kind, begins):
    """Through a filter with its corner at 2 kHz, which lets the tone pass."""
    plan = SignalPlan(name="filtered", sample_rate=RATE, segments=(tone, segment))
    sent = np.concatenate((np.zeros(max(-begins, 0)), render(plan)[max(begins, 0) :]))
    passing = scipy.signal.butter(4, 2000.0, kind, fs=RATE, output="sos")
    heard = scipy.signal.sosfilt(passing, sent)
    watchdog = Watchdog(plan, frames=len(sent), begins=begins)
    list(watchdog.follow([sent]))
    for at in range(0, len(sent), BLOCK):
        assert watchdog(heard[at : at + BLOCK, np.newaxis].astype(np.float32), at) is None


def test_what_a_coupling_capacitor_still_owes_is_no_offset():
    plan, stimulus = planned("latency")
    response = 0.3 * stimulus
    last = np.flatnonzero(stimulus)[-1]
    response[last:] += 0.5 * np.exp(-np.arange(plan.frames - last) / (0.2 * RATE))
    assert objection(plan, stimulus, with_noise(response, -90.0)) == (None, None)


def test_knows_what_is_played_before_any_of_it_is_handed_on():
    plan, stimulus = planned("latency")
    watchdog = Watchdog(plan)
    followed = list(watchdog.follow(np.array_split(stimulus, 7)))
    assert np.array_equal(np.concatenate(followed), stimulus)
    assert objection(plan, stimulus, 0.5 * stimulus) == (None, None)

"""Faults of the interface on a loop: each found by its name, and no clean wire accused."""

import functools
import time

import numpy as np
import pytest
import scipy.signal

from profiler.capture import loop
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.interface import findings
from profiler.rig.connect import connect
from profiler.rig.faults import KINDS, Fault, inject
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
SEEDS = range(5)
FAULTS = (
    ("send-saturates", None),
    ("shared-mode-limiter", None),
    ("interface-limiter", None),
    ("system-resampling", None),
    ("sixteen-bit", None),
    ("enhancement", "agc"),
    ("enhancement", "noise-suppression"),
    ("enhancement", "band-limit"),
)
OF_THE_DEVICE = (
    ("knob-moved", None, 0.5),
    ("knob-moved", None, -0.5),
    ("warm-up", None, 0.3),
    ("warm-up", None, -0.3),
    ("mains-step", None, 0.5),
    ("mains-step", None, -0.5),
    ("time-effect", "delay", None),
    ("time-effect", "reverb", None),
    ("time-effect", "tremolo", None),
    ("time-effect", "chorus", None),
    ("noise-gate", None, None),
    ("hum", "loop-50", None),
    ("hum", "rectifier-120", None),
    ("room-noise", "burst", None),
    ("dc-step", None, None),
    ("dc-offset", None, None),
    ("speaker-simulation", None, None),
    ("speaker-simulation", None, 96.0),
    ("direct-monitoring", None, None),
    ("polarity-inverted", None, None),
)


@functools.cache
def played(signal, rate=RATE):
    plan = load_signal(signal).plan(rate)
    return plan, render(plan).astype(np.float64)


@functools.cache
def recorded(signal, seed=0, rate=RATE):
    return through_wire(signal, rate, seed=seed)


def through_wire(signal, rate=RATE, **interface):
    plan, stimulus = played(signal, rate)
    rig = load_rig("wire")
    changed = rig.interface.model_copy(update={"sample_rate": rate, **interface})
    blocks = []
    connect(rig.model_copy(update={"interface": changed})).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples[:, 0].copy())
    )
    return np.concatenate(blocks).astype(np.float64)


def evidence_of(signal, response, rate=RATE, **more):
    plan, stimulus = played(signal, rate)
    response = np.asarray(response, np.float32).astype(np.float64)  # as a file keeps it
    return Evidence(plan, stimulus, response, is_loop=True, **more)


def names_of(evidence):
    return [finding.name for finding in findings(evidence)]


def faulty(signal, name, seed=0, rate=RATE, **fault):
    plan, stimulus = played(signal, rate)
    return inject(plan, stimulus, recorded(signal, seed, rate), {name: Fault(seed=seed, **fault)})


@pytest.mark.parametrize("signal", ["loop", "check"])
@pytest.mark.parametrize(("name", "variant"), FAULTS)
def test_a_fault_at_its_weakest_is_found_by_its_name_and_nothing_else_is(name, variant, signal):
    for seed in SEEDS if signal == "loop" else SEEDS[:2]:
        assert names_of(evidence_of(signal, faulty(signal, name, seed, variant=variant))) == [name]


@pytest.mark.parametrize(
    ("name", "strengths"),
    [
        ("send-saturates", (1.0, 3.0, 10.0)),
        ("shared-mode-limiter", (0.3, 1.0, 3.0)),
        ("interface-limiter", (1.0, 3.0, 6.0)),
        ("enhancement", (1.0, 3.0, 6.0)),
        ("system-resampling", (16_000.0, 18_000.0)),
        ("sixteen-bit", (8.0, 12.0, 14.0)),
    ],
)
def test_a_stronger_fault_bears_the_same_name(name, strengths):
    for strength in strengths:
        assert names_of(evidence_of("loop", faulty("loop", name, strength=strength))) == [name]


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize(("name", "variant"), FAULTS)
def test_a_fault_is_found_at_other_rates(name, variant, rate):
    response = faulty("loop", name, rate=rate, variant=variant)
    assert names_of(evidence_of("loop", response, rate)) == [name]


@functools.cache
def noisy(signal):
    return through_wire(signal, noise_rms_dbfs=-75.0, gain_db=-10.0, polarity=-1, low_cut_hz=10.0)


@pytest.mark.parametrize(("name", "variant"), FAULTS)
def test_a_fault_is_found_in_noise_and_at_a_low_gain(name, variant):
    plan, stimulus = played("loop")
    response = inject(plan, stimulus, noisy("loop"), {name: Fault(variant=variant)})
    assert names_of(evidence_of("loop", response)) == [name]


@pytest.mark.parametrize("edge_hz", [22_050.0, 24_000.0, 30_000.0])
def test_resampling_beyond_the_end_of_the_sweep_is_heard_in_the_noise(edge_hz):
    response = faulty("loop", "system-resampling", rate=96_000, strength=edge_hz)
    (finding,) = findings(evidence_of("loop", response, 96_000))
    assert finding.name == "system-resampling"
    assert finding.measured == pytest.approx(edge_hz, rel=0.05)


@pytest.mark.parametrize(("name", "variant", "strength"), OF_THE_DEVICE)
@pytest.mark.parametrize("signal", ["loop", "check"])
def test_a_fault_of_the_device_is_not_laid_to_the_interface(name, variant, strength, signal):
    for at_seconds in (None, 3.0, 15.0) if name in {"knob-moved", "mains-step"} else (None,):
        fault = {"variant": variant, "strength": strength, "at_seconds": at_seconds}
        assert names_of(evidence_of(signal, faulty(signal, name, **fault))) == []


@pytest.mark.parametrize("name", ["warm-up", "mains-step", "knob-moved"])
def test_nor_is_it_in_noise_that_hides_the_harmonics_of_soft_tones(name):
    plan, stimulus = played("loop")
    response = inject(plan, stimulus, noisy("loop"), {name: Fault()})
    assert names_of(evidence_of("loop", response)) == []


@pytest.mark.parametrize("number", range(40))
def test_a_clean_wire_is_not_accused(number):
    random = np.random.default_rng((13, number))
    rate = (48_000, 44_100, 48_000, 88_200, 44_100, 96_000, 48_000, 44_100, 48_000, 44_100)[
        number % 10
    ]
    if number == 39:
        rate = 192_000
    signal = ("check", "loop")[number % 2]
    response = through_wire(
        signal,
        rate,
        seed=number,
        gain_db=random.uniform(-20.0, -0.5),
        noise_rms_dbfs=random.uniform(-110.0, -60.0),
        low_cut_hz=random.choice([0.0, 2.0, 10.0]),
        high_cut_ratio=random.choice([0.45, 0.5]),
        polarity=int(random.choice([1, -1])),
        round_trip_samples=random.uniform(32.0, 10_000.0),
        block_size=int(random.choice([64, 256, 1000])),
    )
    assert names_of(evidence_of(signal, response, rate)) == []


def test_a_bit_exact_wire_is_not_silenced_but_exact():
    _, stimulus = played("loop")
    assert names_of(evidence_of("loop", np.roll(stimulus, 512))) == []


def test_a_24_bit_wire_whose_silence_is_digital_is_not_accused():
    _, stimulus = played("loop")
    coarse = np.round(np.roll(stimulus, 512) * 2**23) / 2**23
    assert names_of(evidence_of("loop", coarse)) == []


def test_volume_is_compared_with_the_fingerprint():
    plan, stimulus = played("loop")
    measures = loop.measure_loop(plan, stimulus, recorded("loop"))
    known = loop.fingerprint_of(load_rig("wire"), measures)
    for signal in ("loop", "check"):
        changed = faulty(signal, "volume-changed")
        (finding,) = findings(evidence_of(signal, changed, fingerprint=known))
        assert finding.name == "volume-changed"
        assert finding.measured == pytest.approx(KINDS["volume-changed"].minimum, abs=0.01)
        assert names_of(evidence_of(signal, recorded(signal), fingerprint=known)) == []
        assert names_of(evidence_of(signal, changed)) == []  # nothing to compare with


def test_the_loopback_channel_of_a_take_is_a_loop_and_its_amp_is_not():
    plan, stimulus = played("check")
    amp = np.tanh(5.0 * recorded("check"))
    clean = Evidence(plan, stimulus, amp, loopback=recorded("check"))
    assert names_of(clean) == []
    bent = Evidence(plan, stimulus, amp, loopback=faulty("check", "interface-limiter"))
    assert names_of(bent) == ["interface-limiter"]
    assert names_of(Evidence(plan, stimulus, amp)) == []


def test_a_loopback_channel_has_a_volume_of_its_own():
    plan, stimulus = played("loop")
    measures = loop.measure_loop(plan, stimulus, recorded("loop"))
    rig = load_rig("wire")
    changed = faulty("check", "volume-changed")
    check, sent = played("check")
    for gain_db, expected in ((None, []), (0.0, ["volume-changed"]), (-0.4, [])):
        known = loop.fingerprint_of(rig, measures, loopback_gain_db=gain_db)
        take = Evidence(check, sent, np.tanh(sent), loopback=changed, fingerprint=known)
        assert names_of(take) == expected


@pytest.mark.parametrize("edge_hz", [8_000.0, 15_000.0])
def test_a_gentle_slope_is_a_cable_and_no_cliff(edge_hz):
    slope = scipy.signal.butter(2, edge_hz, fs=RATE, output="sos")
    rounded = scipy.signal.sosfilt(slope, recorded("loop"))
    assert names_of(evidence_of("loop", rounded)) == []


def test_a_limiter_is_found_beside_a_gate():
    plan, stimulus = played("loop")
    both = {"noise-gate": Fault(), "interface-limiter": Fault()}
    response = inject(plan, stimulus, recorded("loop"), both)
    assert names_of(evidence_of("loop", response)) == ["interface-limiter"]


def test_what_expands_is_no_limiter():
    clean, limited = recorded("loop"), faulty("loop", "interface-limiter", strength=1.0)
    expanded = np.divide(clean**2, limited, out=clean.copy(), where=np.abs(limited) > 1e-9)
    assert names_of(evidence_of("loop", expanded)) == []


def test_a_return_that_dies_is_laid_to_nobody_here():
    for seconds in (2.0, 8.0, 12.0):
        dead = recorded("loop") * (np.arange(len(recorded("loop"))) < seconds * RATE)
        assert names_of(evidence_of("loop", dead)) == []


def test_numbers_and_words_say_what_was_found():
    (finding,) = findings(evidence_of("loop", faulty("loop", "send-saturates")))
    assert finding.measured == pytest.approx(0.49, abs=0.01)  # 0.5 % at 0 dBFS, read at -0.1
    assert finding.limit < finding.measured
    assert "0.49 % THD" in finding.cause
    (finding,) = findings(evidence_of("loop", faulty("loop", "interface-limiter")))
    assert finding.measured == pytest.approx(0.3, abs=0.02)


def test_a_take_that_is_no_take_of_the_stimulus_says_nothing():
    plan, _ = played("loop")
    noise = 0.01 * np.random.default_rng(3).standard_normal(plan.frames)
    assert names_of(evidence_of("loop", noise)) == []


def test_twenty_seconds_are_looked_through_in_a_fifth_of_a_second():
    evidence = evidence_of("loop", recorded("loop"))
    took = []
    for _ in range(3):
        begun = time.process_time()
        assert names_of(evidence) == []
        took.append(time.process_time() - begun)
    assert min(took) < 0.2

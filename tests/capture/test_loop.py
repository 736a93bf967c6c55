"""What a loop take says of an interface, against what the simulated interface is known to do."""

import functools
import math

import numpy as np
import pytest

from profiler.capture import loop
from profiler.capture.checks.evidence import Evidence
from profiler.capture.take import take
from profiler.errors import CaptureError, Silent
from profiler.rig.connect import connect
from profiler.rig.faults import Fault, inject
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import SignalPlan, Sweep, load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000


@functools.cache
def played(rate=RATE, gain_db=0.0):
    plan = load_signal("loop").plan(rate, gain_db=gain_db)
    return plan, render(plan)


def wire(**interface):
    """The shipped rig with another interface."""
    rig = load_rig("wire")
    return rig.model_copy(update={"interface": rig.interface.model_copy(update=interface)})


@functools.cache
def recorded(rate=RATE, gain_db=0.0, **interface):
    plan, stimulus = played(rate, gain_db)
    blocks = []
    connect(wire(sample_rate=rate, **interface)).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples[:, 0].copy())
    )
    return np.concatenate(blocks).astype(np.float64)


def measured(faults=None, **take_of):
    plan, stimulus = played(take_of.get("rate", RATE), take_of.get("gain_db", 0.0))
    response = recorded(**take_of)
    if faults:
        response = inject(plan, stimulus, response, faults).astype(np.float32).astype(np.float64)
    return loop.measure_loop(plan, stimulus, response)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_a_clean_wire_is_measured_as_it_is(rate):
    found = measured(
        rate=rate, gain_db=-3.0, round_trip_samples=777.25, polarity=-1, noise_rms_dbfs=-85.0
    )
    assert found.delay_samples == pytest.approx(777.25, abs=1e-3)
    assert found.polarity == -1
    assert found.drift_ppm == pytest.approx(0.0, abs=0.01)
    assert found.gain_db == pytest.approx(0.0, abs=0.002)
    assert found.gain_repeats_within_db < 0.005
    assert found.gain_change_at_top_db == pytest.approx(0.0, abs=0.001)
    assert found.noise_rms_dbfs == pytest.approx(-85.0, abs=0.1)  # 0.8 s: 0.02 dB of scatter
    assert found.word_bits is None
    noise_rms_dbfs = [point.noise_rms_dbfs for point in found.levels]
    np.testing.assert_allclose(noise_rms_dbfs, -85.0, atol=0.3)  # 0.15 s each
    assert max(p.thd_percent for p in found.levels if p.level_dbfs > -10) < 0.001


def test_the_gain_is_that_of_the_return():
    interface = wire(gain_db=-7.5)
    plan, stimulus = played()
    blocks = []
    connect(interface).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples[:, 0].copy())
    )
    response = np.concatenate(blocks)
    assert loop.measure_loop(plan, stimulus, response).gain_db == pytest.approx(-7.5, abs=0.001)
    assert loop.gain_db(plan, stimulus, response) == pytest.approx(-7.5, abs=0.001)


def test_the_response_is_that_of_the_coupling():
    response = {p.frequency: p.gain_db for p in measured(low_cut_hz=20.0).response}
    for frequency in (31.5, 63.0, 125.0):
        # a first-order high pass; re 1 kHz, where it is flat
        truth = -10 * math.log10(1 + (20.0 / frequency) ** 2)
        assert response[frequency] == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.4])
def test_the_band_ends_where_the_converter_does(ratio):
    # the edge is half as high in amplitude 0.025 of the sample rate beyond; -3 dB is before that
    edge = measured(high_cut_ratio=ratio).band_edge_hz
    assert ratio * RATE < edge < (ratio + 0.025) * RATE


def test_a_wire_up_to_the_converters_edge_has_no_end():
    assert measured().band_edge_hz is None


@pytest.mark.parametrize("percent", [0.1, 1.0])
def test_distortion_and_compression_are_those_of_a_cubic(percent):
    found = measured({"send-saturates": Fault(strength=percent)})
    third = percent / 100
    cubic = 4 * third / (1 + 3 * third)  # x - c x^3 has that THD at an amplitude of 1
    for point in found.levels:
        a = 10 ** (point.level_dbfs / 20)
        truth = 100 * (cubic * a**2 / 4) / (1 - 0.75 * cubic * a**2)
        assert point.thd_percent == pytest.approx(truth, rel=0.01, abs=2 * point.thd_floor_percent)
    top, below = (1 - 0.75 * cubic * 10 ** (level / 10) for level in (-0.1, -6.1))
    assert found.gain_change_at_top_db == pytest.approx(20 * math.log10(top / below), abs=0.001)


@pytest.mark.parametrize("ppm", [-0.3, 0.2])
def test_the_drift_of_two_clocks_is_measured(ppm):
    found = measured({"clock-drift": Fault(strength=ppm)})
    assert found.drift_ppm == pytest.approx(ppm, abs=0.02)


def test_effective_bits_are_those_of_the_noise():
    rms = 10 ** (-85 / 20)
    assert measured(noise_rms_dbfs=-85.0).effective_bits == pytest.approx(
        math.log2(2 / (rms * math.sqrt(12))), abs=0.05
    )


def test_effective_bits_are_those_of_a_path_of_16_bits_and_its_noise():
    found = measured({"sixteen-bit": Fault()}, noise_rms_dbfs=-100.0)
    assert found.word_bits == 16
    rms = math.hypot(2.0**-15 / math.sqrt(12), 10 ** (-100 / 20))
    # the tone repeats with the samples, so its rounding is not quite uniform
    truth = math.log2(2 / (rms * math.sqrt(12)))
    assert found.effective_bits == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_the_word_length_is_the_grid_of_the_codes(bits):
    noise = 0.1 * np.random.default_rng(bits).standard_normal(5000)
    step = 2.0 ** (1 - bits)
    assert loop.word_bits(step * np.round(noise / step)) == bits
    assert loop.word_bits(noise) is None


def test_the_floor_of_the_thd_is_what_noise_adds():
    # amplitude^2 of noise in a line is 4 sigma^2 / n; nine lines, 0.16 s of each tone
    (loudest, *_) = [p for p in measured(noise_rms_dbfs=-60.0).levels if p.level_dbfs == -0.1]
    truth = 100 * math.sqrt(9 * 4 * 10 ** (-60 / 10) / (0.169 * RATE)) / 10 ** (-0.1 / 20)
    assert loudest.thd_floor_percent == pytest.approx(truth, rel=0.03)


def test_what_a_ceiling_forbids_is_said_to_be_unknown():
    found = measured(gain_db=-11.9)
    assert found.highest_dbfs == pytest.approx(-12.0)
    (words,) = found.not_reached
    assert "nothing above -12.0 dBFS" in words
    assert measured().not_reached == ()


def test_noise_alone_is_no_loop():
    plan, stimulus = played()
    noise = 0.01 * np.random.default_rng(1).standard_normal(plan.frames)
    assert loop.LoopTake.located(plan, stimulus, noise) is None
    assert loop.gain_db(plan, stimulus, noise) is None
    with pytest.raises(Silent):
        loop.measure_loop(plan, stimulus, noise)


def test_a_plan_without_ladders_cannot_measure_a_loop():
    plan = load_signal("latency").plan(RATE)
    stimulus = render(plan)
    with pytest.raises(ValueError, match="measured by the signal loop"):
        loop.measure_loop(plan, stimulus, np.roll(stimulus, 500))


def test_the_tones_are_those_that_were_played():
    plan, stimulus = played()
    take_ = loop.LoopTake.located(plan, stimulus, recorded())
    assert take_.lag == pytest.approx(1234.567, abs=1.0)
    levels = [t.level_dbfs for t in take_.tones if t.segment == "ladder"]
    np.testing.assert_allclose(levels, np.arange(-60.1, 0.0, 6.0))
    assert [t.kind for t in take_.tones].count("probe") == 5
    assert all(abs(t.gain_db) < 0.01 for t in take_.tones)


def test_a_sweep_of_the_bass_alone_says_nothing_of_the_band():
    bass = Sweep(
        name="bass", kind="sweep", use="analyse", seconds=1.0, start_hz=20.0, stop_hz=500.0
    )
    plan = SignalPlan(name="bass", sample_rate=RATE, segments=(bass,)).bracketed()
    stimulus = render(plan)
    assert loop.LoopTake.located(plan, stimulus, np.roll(stimulus, 100)).sweeps == ()


def test_a_return_that_dies_is_measured_without_an_error():
    plan, stimulus = played()
    dead = recorded() * (np.arange(plan.frames) < 3 * RATE)
    take_ = loop.LoopTake.located(plan, stimulus, dead)
    assert take_.sweeps[0].gain_db.max() < -200
    assert take_.tones[-1].gain_db < -200


def test_the_gain_track_follows_a_step():
    plan, stimulus = played()
    step_db, at = 0.3, 11.85  # in the middle of a tone of 1 s
    stepped = recorded() * np.where(
        np.arange(plan.frames) < at * RATE + 1234, 1.0, 10 ** (step_db / 20)
    )
    track = loop.LoopTake.located(plan, stimulus, stepped).gain_track
    before = track.frames < (at - 0.05) * RATE
    after = track.frames > (at + 0.05) * RATE
    audible = track.sigma_db < 0.01
    assert np.max(np.abs(track.gain_db[before & audible])) < 0.02
    assert np.max(np.abs(track.gain_db[after & audible] - step_db)) < 0.02


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))


def test_a_fingerprint_is_kept_for_its_conditions_alone(home):
    rig = wire()
    assert loop.stored(rig) is None
    fingerprint = loop.fingerprint_of(rig, measured(), round_trips_samples=(1234.5, 1234.6))
    assert fingerprint.latency_spread_samples == pytest.approx(0.1)
    loop.store(rig, fingerprint)
    assert loop.stored(rig) == fingerprint
    assert loop.stored(wire(block_size=512)) is None
    assert loop.stored(wire(sample_rate=96_000)) is None


def test_a_wire_without_any_noise_has_a_fingerprint_too(home):
    plan, stimulus = played()
    measures = loop.measure_loop(plan, stimulus, np.roll(stimulus, 512))
    assert measures.noise_rms_dbfs is None
    loop.store(wire(), loop.fingerprint_of(wire(), measures))
    assert loop.stored(wire()).noise_rms_dbfs is None


def test_a_fingerprint_of_other_conditions_is_refused(home):
    rig, other = wire(), wire(block_size=512)
    fingerprint = loop.fingerprint_of(other, measured())
    with pytest.raises(ValueError, match="got a fingerprint of"):
        loop.store(rig, fingerprint)
    fingerprint.save(loop.fingerprint_path(rig))  # as if it had been copied by hand
    with pytest.raises(CaptureError, match=r"measured with .*512.* expected .*256"):
        loop.stored(rig)


def test_a_damaged_fingerprint_is_refused_with_what_to_do(home):
    path = loop.store(wire(), loop.fingerprint_of(wire(), measured()))
    path.write_text(path.read_text()[:100])
    with pytest.raises(CaptureError, match=r"loop-.*json.*ampscope doctor wire --loop"):
        loop.stored(wire())


def test_the_evidence_of_a_capture_knows_the_fingerprint(home, tmp_path):
    rig = wire()
    folder = take(rig, load_signal("latency").plan(RATE), tmp_path / "c", connect(rig))
    assert Evidence.of(folder).fingerprint is None
    loop.store(rig, loop.fingerprint_of(rig, measured()))
    assert Evidence.of(folder).fingerprint == loop.stored(rig)

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from profiler.errors import DefinitionError
from profiler.rig.connect import connect
from profiler.rig.faults import CLIPPED_SAMPLES, KINDS, Fault, inject, weakest
from profiler.rig.injection import OF_A_FINISHED_FILE, PLACES, pass_through
from profiler.rig.rig import Rig, load_rig
from profiler.rig.scene import Scene, Tap
from profiler.stimulus.marker import code
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render

RATE = 48_000
LAG = 1234.567  # the simulated interface's own
EVERY = [(name, variant) for name, kind in KINDS.items() for variant in kind.variants or (None,)]
IN_A_STREAM = [
    (name, variant)
    for name, variant in EVERY
    if name != "file-hygiene" or variant not in OF_A_FINISHED_FILE
]
DEVICE_INPUT, DEVICE_OUTPUT, _, RETURN, COMPUTER = PLACES[-5:]
NOT_OF_THE_LOOPBACK = {*DEVICE_INPUT, *DEVICE_OUTPUT, *RETURN}


def _of(names):
    return [(name, variant) for name, variant in IN_A_STREAM if name in names]


# A take with a loopback, as short as it can be


@functools.cache
def _plan():
    segments = [
        {"kind": "sine", "name": "tone", "use": "analyse", "level_dbfs": -3.0, "seconds": 0.4},
        {"kind": "silence", "name": "rest", "use": "analyse", "seconds": 0.4},
        {"kind": "noise", "name": "noise", "use": "train", "level_dbfs": -6.0, "seconds": 0.5},
    ]
    definition = SignalDefinition.model_validate({"name": "faulty", "segments": segments})
    return definition.plan(RATE).bracketed()


@functools.cache
def _stimulus():
    return render(_plan())


def _rig(circuit="wire", faults=None, **settings):
    interface = {
        "driver": "simulated",
        "loopback_channel": 2,
        "noise_rms_dbfs": -90.0,
    }
    return Rig.model_validate(
        {
            "name": "test",
            "maximum_send_dbfs": 0.0,
            "interface": interface | settings | {"faults": faults or {}},
            "chain": {"circuit": circuit},
        }
    )


def _record(rig, stimulus=None):
    stimulus = _stimulus() if stimulus is None else stimulus
    blocks = []
    connect(rig).play_record([stimulus], len(stimulus), blocks.append)
    return np.concatenate([block.samples for block in blocks])


@functools.cache
def _clean():
    take = _record(_rig())
    take.setflags(write=False)
    return take


def _fault(name, variant=None, **keys):
    if "strength" not in keys:
        keys["strength"] = weakest(name, _clean()[:, 0])
    return Fault(variant=variant, **keys)


def _injected(name, variant=None, **keys):
    return inject(_plan(), _stimulus(), _clean(), {name: _fault(name, variant, **keys)})


def _is_changed(out, clean):
    """Which columns differ by more than rounding."""
    return list(np.max(np.abs(out - clean), axis=0) > 1e-6)


# Any array as a recording


@functools.cache
def _silent_plan(rate=RATE):
    silence = {"kind": "silence", "name": "silence", "use": "analyse", "seconds": 1.0}
    return SignalDefinition.model_validate({"name": "silent", "segments": [silence]}).plan(rate)


def _through(name, recorded, *, stimulus=None, rate=RATE, **keys):
    """A recording, `(n,)`, with a fault, as if from a loop of gain 1 and no latency."""
    stimulus = recorded if stimulus is None else stimulus
    return inject(_silent_plan(rate), stimulus, recorded, {name: Fault(**keys)})


def _tone(frequency, seconds=1.0, level=1.0, rate=RATE):
    return level * np.sin(2 * np.pi * frequency / rate * np.arange(round(seconds * rate)))


def _line(samples, frequency, rate=RATE):
    """Amplitude of a sine of whole periods."""
    turns = 2j * np.pi * frequency / rate * np.arange(len(samples))
    return 2.0 * abs(np.mean(samples * np.exp(-turns)))


def _db(ratio):
    return 20.0 * np.log10(ratio)


def _noise(n, seed=0, level=0.1):
    return level * np.random.default_rng(seed).standard_normal(n)


def _impulse(n=RATE):
    return np.eye(1, n)[0]


# Every one of them


def test_every_name_has_one_place():
    assert sorted(name for place in PLACES for name in place) == sorted(KINDS)


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_a_pair_gets_every_fault_where_it_belongs(name, variant):
    clean = _clean()
    before = clean.copy()
    out = _injected(name, variant)
    np.testing.assert_array_equal(clean, before)
    assert out.dtype == np.float64
    assert np.isfinite(out).all()
    if name == "file-hygiene" and variant in ("stereo", "tail"):
        return
    assert out.shape == clean.shape
    assert _is_changed(out, clean) == [True, name not in NOT_OF_THE_LOOPBACK]


@pytest.mark.parametrize(("name", "variant"), IN_A_STREAM)
def test_the_simulated_interface_gets_every_fault_where_it_belongs(name, variant):
    out = _record(_rig("wire", {name: _fault(name, variant)}))
    assert out.shape == _clean().shape
    assert np.isfinite(out).all()
    assert _is_changed(out, _clean()) == [True, name not in NOT_OF_THE_LOOPBACK]


@pytest.mark.parametrize(("name", "variant"), _of({*RETURN, *COMPUTER}))
def test_the_interface_records_what_is_injected_into_its_clean_take(name, variant):
    recorded = _record(_rig("wire", {name: _fault(name, variant)}))
    injected = _injected(name, variant)
    # the clean take was rounded to float32 before, the recorded one after: where a word is
    # shortened, that may round the other way
    step = 2.0**-15 if "sixteen-bit" in name or variant == "dithered" else 0.0
    n = len(injected) - RATE // 8  # from behind its end a pair has nothing but its mirror
    np.testing.assert_allclose(recorded[:n], injected[:n], rtol=0, atol=step + 2e-7)


@pytest.mark.parametrize(
    ("name", "variant"), [each for each in EVERY if each[0] not in ("truncated", "file-hygiene")]
)
def test_nothing_is_changed_before_its_place(name, variant):
    first = round(1.23 * RATE)
    out = _injected(name, variant, at_seconds=1.23)
    np.testing.assert_allclose(out[:first], _clean()[:first], rtol=0, atol=1e-13)
    assert _is_changed(out[first:], _clean()[first:])[0]


@pytest.mark.parametrize("name", ["hum", "standby", "noise-gate", "knob-moved", "dc-step"])
def test_a_fault_may_end(name):
    out = _injected(name, at_seconds=1.0, seconds=0.75)
    clean = _clean()
    first, last = RATE, RATE * 7 // 4
    assert _is_changed(out[first:last], clean[first:last])[0]
    np.testing.assert_array_equal(out[last:], clean[last:])


@pytest.mark.parametrize(("name", "variant"), IN_A_STREAM)
def test_how_a_stream_is_cut_changes_nothing(name, variant):
    clean = _clean().astype(np.float64)[RATE // 2 : RATE * 2]
    sent = _stimulus().astype(np.float64)[RATE // 2 : RATE * 2]

    def through(cuts):
        tap = Tap()
        tap.write(sent)
        scene = Scene(RATE, len(clean), sent=tap, floor_rms=1e-4, sounds_to=len(clean) - RATE // 4)
        chunks = itertools.chain(np.split(clean, cuts), itertools.repeat(clean))
        chunks = pass_through(chunks, (name,), {name: _fault(name, variant)}, scene)
        taken, frames = [], 0
        while frames < len(clean):
            taken.append(next(chunks))
            frames += len(taken[-1])
        return np.concatenate(taken)[: len(clean)]

    cuts = [1, 8, 300, 5000, 30_000, 36_001, 36_010, 60_000]
    np.testing.assert_allclose(through(cuts), through([]), rtol=0, atol=1e-12)


def test_a_mono_recording_is_the_return_alone():
    clean = _clean()
    for name in ("hum", "lost-block", "clock-drift", "feedback", "warm-up"):
        mono = inject(_plan(), _stimulus(), clean[:, 0], {name: Fault()})
        assert mono.shape == (len(clean),)
        np.testing.assert_allclose(mono, _injected(name)[:, 0], rtol=0, atol=1e-15)


def test_several_at_once_are_applied_in_the_order_of_the_way():
    faults = {"zero-fill": Fault(strength=64), "dc-offset": Fault()}
    one = inject(_plan(), _stimulus(), _clean(), faults)
    other = inject(_plan(), _stimulus(), _clean(), dict(reversed(faults.items())))
    np.testing.assert_array_equal(one, other)
    middle = len(one) // 2
    assert not one[middle : middle + 64].any()  # the buffer comes last: no offset in it


@pytest.mark.parametrize(
    ("name", "variant"),
    [("hum", None), ("room-noise", "burst"), ("room-noise", "reflection"), ("standby", None)],
)
def test_one_seed_is_always_the_same_and_another_is_another(name, variant):
    out = _injected(name, variant)
    np.testing.assert_array_equal(_injected(name, variant), out)
    assert _is_changed(_injected(name, variant, seed=1), out)[0]


# What each does, and how much of it


@pytest.mark.parametrize("name", ["volume-changed", "return-low", "knob-moved", "mains-step"])
@pytest.mark.parametrize("strength", [-3.0, 0.5])
def test_levels_change_by_the_strength(name, strength):
    out = _through(name, _tone(440.0, level=0.1), strength=strength, at_seconds=0.0)
    assert _db(_line(out[RATE // 2 :], 440.0) / 0.1) == pytest.approx(strength, abs=0.02)


def test_a_moved_knob_changes_the_treble_a_little_more():
    out = _through("knob-moved", _tone(15_000.0), strength=2.0, at_seconds=0.0)
    assert _db(_line(out[RATE // 2 :], 15_000.0)) == pytest.approx(2.4, abs=0.02)


def test_a_mains_step_moves_level_harmonics_and_hum_together():
    def seen(strength):
        out = _through("mains-step", _tone(1000.0, level=0.5), stimulus=_tone(1000.0), **strength)
        return [_line(out[RATE // 2 :], frequency) for frequency in (1000.0, 2000.0, 100.0)]

    level, second, hum = seen({"strength": 1.0, "at_seconds": 0.0})
    assert _db(level / 0.5) == pytest.approx(1.0, abs=1e-3)
    # x + c x^2 / full scale: the second harmonic is c/2 of the fundamental at full scale
    assert second / level == pytest.approx(0.05, rel=0.01)
    assert hum == pytest.approx(2e-4, rel=0.01)
    level, second, hum = seen({"strength": 2.0, "at_seconds": 0.0})
    assert second / level == pytest.approx(0.1, rel=0.01)
    assert hum == pytest.approx(4e-4, rel=0.01)


def test_warming_up_level_and_harmonics_creep_all_the_take_long():
    out = _through("warm-up", _tone(1000.0, 2.0, 0.5), strength=1.0)
    parts = np.split(out, 40)
    levels = np.array([_db(_line(part, 1000.0) / 0.5) for part in parts])
    seconds = np.array([_line(part, 2000.0) for part in parts])
    assert (np.diff(levels) > 0).all()
    assert (np.diff(seconds) > 0).all()
    assert levels[0] < 0.04
    assert levels[-1] == pytest.approx(1.0, abs=0.01)


def test_polarity_is_the_returns():
    np.testing.assert_array_equal(_injected("polarity-inverted")[:, 0], -_clean()[:, 0])


@pytest.mark.parametrize("name", ["dc-step", "dc-offset"])
def test_dc_has_the_level_of_the_strength(name):
    recorded = _noise(RATE)
    out = _through(name, recorded, strength=-40.0) - recorded
    first = RATE // 2 if name == "dc-step" else 0  # an event lies in the middle
    np.testing.assert_allclose(out[first:], 0.01, rtol=0, atol=1e-12)
    assert not out[:first].any()


@pytest.mark.parametrize(
    ("variant", "lines"),
    [
        ("loop-50", {50: 1.0, 100: 0.0, 150: 0.5, 250: 0.35}),
        ("loop-60", {60: 1.0, 120: 0.0, 180: 0.5, 300: 0.35}),
        ("rectifier-100", {50: 0.0, 100: 1.0, 200: 0.6, 300: 0.4}),
        ("rectifier-120", {60: 0.0, 120: 1.0, 240: 0.6, 360: 0.4}),
    ],
)
def test_hum_has_its_origins_lines(variant, lines):
    hum = _through("hum", np.zeros(RATE), strength=-60.0, variant=variant)
    for frequency, share in lines.items():
        assert _line(hum, frequency) == pytest.approx(1e-3 * share, abs=1e-9)


@pytest.mark.parametrize(("variant", "rails"), [("both", 2), ("positive", 1), ("negative", 1)])
def test_clipping_cuts_at_the_rail_and_nothing_else(variant, rails):
    recorded = _noise(RATE)
    out = _through("return-clipped", recorded, strength=-20.0, variant=variant)
    at_rail = np.flatnonzero(np.abs(out) == 0.1)
    beyond = (recorded > 0.1) & (variant != "negative") | (recorded < -0.1) & (
        variant != "positive"
    )
    np.testing.assert_array_equal(at_rail, np.flatnonzero(beyond))
    np.testing.assert_array_equal(out[~beyond], recorded[~beyond])
    assert len(set(np.sign(out[at_rail]))) == rails


def test_the_weakest_clipping_is_twenty_samples_on_either_rail():
    response = _noise(RATE)
    out = _through("return-clipped", response, strength=weakest("return-clipped", response))
    rail = np.max(out)
    either = np.count_nonzero(np.isclose(out, rail)), np.count_nonzero(np.isclose(out, -rail))
    assert min(either) == CLIPPED_SAMPLES


def test_the_weakest_low_return_peaks_below_minus_thirty():
    response = _noise(RATE)
    out = _through("return-low", response, strength=weakest("return-low", response))
    assert _db(np.max(np.abs(out))) == pytest.approx(-30.5)


def test_the_weakest_of_the_others_is_their_kinds():
    assert weakest("lost-block", _noise(100)) == 1
    assert weakest("polarity-inverted", _noise(100)) is None


@pytest.mark.parametrize("percent", [0.5, 3.0])
def test_a_saturating_send_has_its_thd_at_full_scale(percent):
    at_full_scale = _through("send-saturates", _tone(1000.0), strength=percent)
    thd = _line(at_full_scale, 3000.0) / _line(at_full_scale, 1000.0)
    assert 100 * thd == pytest.approx(percent)
    softly = _through("send-saturates", _tone(1000.0, level=0.1), stimulus=_tone(1000.0))
    assert _line(softly, 3000.0) < 1e-9 + 0.1 * 0.005 * 0.011 * 100  # falls with the square


def test_a_send_is_as_far_below_full_scale_behind_a_quieter_loop():
    full = _through("send-saturates", _tone(1000.0))
    half = _through("send-saturates", _tone(1000.0, level=0.5), stimulus=_tone(1000.0))
    np.testing.assert_allclose(half, 0.5 * full, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_a_shared_mode_limiter_takes_its_strength_off_full_scale_only(strength):
    ramp = np.linspace(-1.0, 1.0, 2001)
    out = _through("shared-mode-limiter", ramp, strength=strength)
    assert _db(out[-1]) == pytest.approx(-strength)
    assert _db(-out[0]) == pytest.approx(-strength)
    low = np.abs(ramp) <= 0.5
    np.testing.assert_array_equal(out[low], ramp[low])
    assert (np.diff(out) > 0).all()


def test_an_interface_limiter_follows_the_level_and_recovers_slowly():
    tone = np.concatenate((_tone(1000.0), _tone(1000.0, level=0.01)))
    out = _through("interface-limiter", tone, strength=2.0)
    # at once at its onset 20 dB down, all of it at full scale
    assert _db(_line(out[RATE // 2 : RATE], 1000.0)) == pytest.approx(-2.0, abs=0.01)
    just_after = out[RATE + 480 : RATE + 960]
    assert _db(_line(just_after, 1000.0) / 0.01) == pytest.approx(-1.95, abs=0.03)
    assert _line(out[-4800:], 1000.0) == pytest.approx(0.01, rel=1e-6)


def test_a_sixteen_bit_path_has_its_steps():
    recorded = _noise(RATE)
    for bits in (16, 12):
        out = _through("sixteen-bit", recorded, strength=bits)
        codes = out * 2 ** (bits - 1)
        np.testing.assert_array_equal(codes, np.round(codes))
        assert np.max(np.abs(out - recorded)) <= 0.5 / 2 ** (bits - 1)


@pytest.mark.parametrize("frames", [1, 64, 1000])
def test_buffers_are_lost_repeated_and_zeroed_at_their_frame(frames):
    recorded = _noise(RATE)
    place = {"strength": frames, "at_seconds": 0.25}
    first = RATE // 4
    lost = _through("lost-block", recorded, **place)
    np.testing.assert_array_equal(lost[:first], recorded[:first])
    np.testing.assert_array_equal(lost[first:-frames], recorded[first + frames :])
    assert lost[-frames:].any()

    repeated = _through("repeated-block", recorded, **place)
    np.testing.assert_array_equal(repeated[: first + frames], recorded[: first + frames])
    np.testing.assert_array_equal(repeated[first + frames :], recorded[first:-frames])

    zeroed = _through("zero-fill", recorded, **place)
    np.testing.assert_array_equal(np.flatnonzero(zeroed == 0.0), np.arange(first, first + frames))
    kept = zeroed != 0.0
    np.testing.assert_array_equal(zeroed[kept], recorded[kept])


@pytest.mark.parametrize("ppm", [-50.0, 0.5, 100.0])
@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.45])
def test_a_drifting_clock_resamples_without_an_error_that_is_heard(ppm, ratio):
    n = np.arange(2 * RATE)
    out = _through("clock-drift", np.sin(2 * np.pi * ratio * n), strength=ppm)
    truth = np.sin(2 * np.pi * ratio * n / (1 + 1e-6 * ppm))
    inside = slice(100, -100)
    assert _db(np.max(np.abs(out - truth)[inside])) < -90.0


def test_a_clock_that_begins_to_drift_goes_on_from_there():
    n = np.arange(2 * RATE)
    out = _through("clock-drift", np.sin(0.3 * n), strength=100.0, at_seconds=0.5)
    since = np.maximum(n - RATE // 2, 0)
    truth = np.sin(0.3 * (n - since + since / (1 + 1e-4)))
    assert _db(np.max(np.abs(out - truth)[100:-100])) < -90.0


@pytest.mark.parametrize("true_rate", [44_100, 50_000])
def test_a_wrong_rate_is_another_pitch_and_length(true_rate):
    at = np.arange(2 * RATE)
    recorded = np.sin(2 * np.pi * 1000.0 / RATE * at)
    out = _through("wrong-rate", recorded, strength=true_rate / RATE)
    truth = np.sin(2 * np.pi * 1000.0 / true_rate * at)
    n = round(0.9 * len(at))  # behind it one of them needs what is not there
    assert _db(np.max(np.abs(out - truth)[100:n])) < -90.0


def test_a_wrong_rate_folds_nothing_back():
    out = _through("wrong-rate", _tone(22_000.0), strength=0.8)
    assert _db(np.max(np.abs(out[1000 : RATE // 2]))) < -80.0


@pytest.mark.parametrize("samples", [2, -3, 2000])
def test_whole_samples_of_latency_shift_the_recording(samples):
    recorded = _noise(RATE)
    out = _through("latency-changed", recorded, strength=samples)
    inside = slice(3000, -3000)
    shifted = np.roll(recorded, samples)
    np.testing.assert_allclose(out[inside], shifted[inside], rtol=0, atol=1e-15)
    assert np.all(out != 0.0)


def test_latency_need_not_be_whole():
    out = _through("latency-changed", _tone(5000.0), strength=2.25)
    truth = np.sin(2 * np.pi * 5000.0 / RATE * (np.arange(RATE) - 2.25))
    assert _db(np.max(np.abs(out - truth)[100:-100])) < -90.0


def test_a_resampling_system_ends_the_band_and_makes_images():
    rate = 96_000
    for frequency, gain in ((1000.0, 1.0), (18_900.0, 1.0), (20_100.0, 0.0)):
        out = _through(
            "system-resampling", _tone(frequency, rate=rate), strength=20_000.0, rate=rate
        )
        assert _line(out[1000:-1000], frequency, rate) == pytest.approx(gain, abs=2e-3)
    out = _through("system-resampling", _tone(10_000.0, rate=rate), strength=20_000.0, rate=rate)
    assert _db(_line(out[4800:-4800], 44_100.0 - 10_000.0, rate)) == pytest.approx(-60.0, abs=0.1)


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_automatic_gain_follows_the_past(strength):
    quiet, loud = _tone(1000.0, 3.0, 1e-3), _tone(1000.0, 3.0, 0.5)
    probe = _tone(1000.0, 0.05, 0.1)
    recorded = np.concatenate((quiet, probe, loud, probe))
    parts = [*np.cumsum([len(quiet), len(probe), len(loud)])]
    before, probed, during, after = np.split(
        _through("enhancement", recorded, strength=strength), parts
    )
    assert _line(before, 1000.0) == pytest.approx(1e-3, rel=1e-9)
    assert _db(_line(during[-4800:], 1000.0) / 0.5) == pytest.approx(-strength, abs=1e-6)
    # equal bursts: the first already lets the gain fall a little
    assert 0.4 < _db(_line(probed, 1000.0) / _line(after, 1000.0)) / strength < 1.0


def test_noise_suppression_makes_silence_exact():
    recorded = np.concatenate((_noise(RATE, level=1e-4), _tone(1000.0), _noise(RATE, level=1e-4)))
    out = _through("enhancement", recorded, variant="noise-suppression")
    assert not out[:RATE].any()
    np.testing.assert_array_equal(out[RATE : 2 * RATE], recorded[RATE : 2 * RATE])
    assert not out[-RATE // 4 :].any()


@pytest.mark.parametrize(
    ("name", "variant", "passes", "stops"),
    [("enhancement", "band-limit", 6900.0, 7600.0), ("file-hygiene", "mp3", 15_500.0, 16_100.0)],
)
def test_a_band_ends(name, variant, passes, stops):
    for frequency, gain in ((passes, 1.0), (stops, 0.0)):
        out = _through(name, _tone(frequency), variant=variant)
        assert _line(out[4800:-4800], frequency) == pytest.approx(gain, abs=1e-3)


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_what_is_fed_back_grows_by_the_strength_each_time_round(strength):
    round_trip = round(0.025 * RATE)
    out = _through("feedback", _noise(2 * RATE, level=1e-6), strength=strength)
    levels = _db(np.std(out[: 60 * round_trip].reshape(60, round_trip), axis=1))
    # its band makes what begins as noise lose at first, and each round a little longer
    growth = np.polyfit(np.arange(20), levels[20:40], 1)[0]
    assert growth == pytest.approx(strength, abs=0.15 + 0.05 * strength)
    assert np.max(np.abs(out)) <= 1.0


def test_the_simulated_interface_feeds_back_for_real():
    """On a wire of gain 1 what came back is sent again a block later."""
    rig = _rig("wire", {"feedback": {"strength": -3.0}}, round_trip_samples=1000.0)
    click = 0.5 * np.roll(_tone(1000.0, 0.5) * (np.arange(RATE // 2) < 480), 100)
    loop = _record(rig, click)[:, 1]
    rounds = [loop[1100 + k * 1256 :][:480] for k in range(4)]
    levels = [_db(_line(part, 1000.0) / 0.5) for part in rounds]
    assert levels == pytest.approx([0.0, -3.0, -6.0, -9.0], abs=0.02)


@pytest.mark.parametrize(("name", "strength"), [("bypass", -6.0), ("no-signal", -70.0)])
def test_the_send_is_recorded_instead_of_the_device(name, strength):
    out = _injected(name, strength=strength)[:, 0]
    sent = 10 ** (strength / 20) * _stimulus()
    lag = round(LAG)
    # beside the floor, noise at -90 dBFS
    assert np.std(out[lag:] - sent[:-lag]) == pytest.approx(10**-4.5, rel=0.1)


def test_direct_monitoring_adds_the_send_at_once():
    added = _injected("direct-monitoring", strength=-20.0) - _clean()
    sent = 0.1 * _stimulus().astype(np.float64)
    for column in (0, 1):
        np.testing.assert_allclose(added[:, column], sent, rtol=0, atol=1e-12)


def test_in_standby_the_signal_goes_and_the_noise_stays():
    out, clean = _injected("standby")[:, 0], _clean()[:, 0]
    tone = next(_plan().of_kind("sine"))
    tone = slice(tone.start + RATE // 5, tone.start + RATE // 5 + RATE // 10)
    assert _db(_line(out[tone], 440.0) / _line(clean[tone], 440.0)) == pytest.approx(-45, abs=0.5)
    rest = slice(-RATE // 2, None)
    assert np.std(out[rest]) == pytest.approx(np.std(clean[rest]), rel=0.05)


def test_another_stimulus_has_other_markers():
    def likeness(recorded):
        marker = code(_plan().identity, "head", RATE)
        found = signal.correlate(recorded, marker, mode="valid", method="fft")
        energy = signal.correlate(recorded**2, np.ones(len(marker)), mode="valid", method="fft")
        return np.max(np.abs(found) / np.sqrt(np.maximum(energy, 1e-6) * np.sum(marker**2)))

    assert likeness(_clean()[:, 1]) > 0.85  # 1, but for the fraction of a sample
    assert likeness(_injected("wrong-stimulus")[:, 1]) < 0.2
    assert likeness(_record(_rig("wire", {"wrong-stimulus": {}}))[:, 1]) < 0.2


def test_another_stimulus_stays_below_the_ceiling():
    quiet = _rig("wire", {"wrong-stimulus": {}}).model_copy(update={"maximum_send_dbfs": -20.0})
    stimulus = 0.1 * _stimulus()
    assert _db(np.max(np.abs(_record(quiet, stimulus)))) < -19.9


def test_faults_of_the_send_go_through_the_device():
    """A diode clips what was louder before it to nearly the same."""
    tone = _tone(440.0, 0.5, 0.3)
    clean = _record(_rig("drive"), tone)[RATE // 4 :, 0]
    faulty = _rig("drive", {"volume-changed": {"strength": -6.0}})
    assert -3.0 < _db(np.std(_record(faulty, tone)[RATE // 4 :, 0]) / np.std(clean)) < -0.3
    pair = _through("volume-changed", clean, strength=-6.0)
    assert _db(np.std(pair) / np.std(clean)) == pytest.approx(-6.0)


def test_line_level_drives_the_device_harder():
    clean, out = _clean(), _record(_rig("wire", {"line-level": _fault("line-level")}))
    np.testing.assert_allclose(out[:, 0] / 10**0.7, clean[:, 0], rtol=0, atol=3e-4)  # its noise
    tones = np.concatenate((_tone(440.0), _tone(440.0, level=1e-3)))
    soft = _through("line-level", tones, strength=14.0)
    assert np.max(np.abs(soft)) < 1.0
    assert _line(soft[:RATE], 1320.0) > 0.2  # nearly a square
    assert _db(_line(soft[RATE:], 440.0) / 1e-3) == pytest.approx(14.0, abs=0.01)


@pytest.mark.parametrize("strength", [-40.0, -20.0])
def test_a_noise_burst_has_its_peak_and_length(strength):
    burst = _through("room-noise", np.zeros(RATE), strength=strength, at_seconds=0.3)
    assert _db(np.max(np.abs(burst))) == pytest.approx(strength)
    sounding = np.flatnonzero(burst)
    assert sounding[0] >= RATE * 0.3
    assert sounding[-1] < RATE * 0.6


def test_a_wall_reflects_after_2_to_20_ms():
    out = _through("room-noise", _impulse(), strength=-20.0, variant="reflection", at_seconds=0.0)
    arrivals = np.flatnonzero(out)
    assert out[arrivals] == pytest.approx([1.0, 0.1])
    assert 0.002 <= arrivals[1] / RATE <= 0.02


def test_a_gate_closes_below_its_threshold():
    tone = np.concatenate((_tone(440.0, level=0.1), _tone(440.0, level=0.01)))
    out = _through("noise-gate", tone, strength=-30.0)
    assert _line(out[4800:RATE], 440.0) == pytest.approx(0.1, rel=1e-6)
    assert _line(out[RATE * 3 // 2 :], 440.0) == pytest.approx(1e-5, rel=1e-3)  # 60 dB closed
    open_ = _through("noise-gate", tone, strength=-50.0)
    np.testing.assert_allclose(open_[4800:], tone[4800:], rtol=0, atol=1e-12)


def test_an_echo_comes_after_350_ms():
    out = _through("time-effect", _impulse(), strength=-20.0, variant="delay")
    np.testing.assert_array_equal(np.flatnonzero(out), [0, 16_800])
    assert out[16_800] == pytest.approx(0.1)


def test_a_reverb_has_its_energy_and_decay():
    out = _through("time-effect", _impulse(2 * RATE), strength=-20.0, variant="reverb")
    tail = out[1:]
    assert np.sum(tail**2) == pytest.approx(0.01, rel=1e-6)
    assert np.max(np.abs(tail[: RATE // 60])) < 1e-15
    first, second = np.sum(tail[: RATE // 2] ** 2), np.sum(tail[RATE // 2 : RATE] ** 2)
    assert 10 * np.log10(first / second) == pytest.approx(20.0, abs=1.0)  # 60 dB in 1.5 s


def test_a_tremolo_has_two_sidebands():
    out = _through("time-effect", _tone(1000.0), strength=-20.0, variant="tremolo")
    assert _line(out, 1000.0) == pytest.approx(1.0)
    for frequency in (995.0, 1005.0):
        assert _line(out, frequency) == pytest.approx(0.1 / np.sqrt(2.0))


def test_a_chorus_is_a_voice_that_wanders():
    out = _through("time-effect", _impulse(), strength=-20.0, variant="chorus")
    arrivals = np.flatnonzero(out)[1:]
    assert np.all((arrivals > 0.012 * RATE) & (arrivals < 0.018 * RATE + 1))
    assert np.sum(out[1:]) == pytest.approx(0.1, rel=0.03)  # it moves while it is read
    later = np.roll(_impulse(), RATE // 3)
    moved = np.flatnonzero(_through("time-effect", later, variant="chorus"))[1] - RATE // 3
    assert abs(moved - arrivals[0]) > 20


@pytest.mark.parametrize("slope", [18.0, 24.0])
def test_a_speaker_simulation_falls_with_its_slope_and_rings(slope):
    response = _through("speaker-simulation", _impulse(), strength=slope)
    gain_db = _db(np.abs(np.fft.rfft(response)) + 1e-12)
    warped = np.tan(
        np.pi * np.array([5000.0, 7000.0, 12_000.0]) / RATE
    )  # by the bilinear transform
    truth_db = -10.0 * np.log10(1.0 + (warped / warped[0]) ** (2 * slope / 6.0))
    assert gain_db[[5000, 7000, 12_000]] == pytest.approx(truth_db, abs=1.0)  # the dips' skirts
    assert gain_db[1700] < gain_db[1000] - 9.0
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    lasts = np.flatnonzero(energy > 1e-5 * energy[0])[-1] / RATE
    assert 0.02 < lasts < 0.15


@pytest.mark.parametrize("strength", [0.15, 0.4])
def test_head_and_tail_are_eaten_by_the_strength(strength):
    stimulus, clean = _stimulus(), _clean()
    sounding = np.flatnonzero(stimulus)
    eaten = round(strength * RATE)
    head = sounding[0] + round(LAG) + eaten
    out = _injected("truncated", strength=strength)
    np.testing.assert_array_equal(out[head:], clean[head:])
    assert _db(np.std(out[:head, 1])) == pytest.approx(-90.0, abs=0.5)
    tail = sounding[-1] + 1 + round(LAG) - eaten
    out = _injected("truncated", "tail", strength=strength)
    np.testing.assert_array_equal(out[:tail], clean[:tail])
    assert _db(np.std(out[tail:, 1])) == pytest.approx(-90.0, abs=0.5)


@pytest.mark.parametrize("variant", ["start", "tail"])
def test_an_interface_eats_as_much_of_the_send_itself(variant):
    fault = {"truncated": Fault(strength=0.15, variant=variant)}
    out = _record(_rig("wire", fault))[:, 1]
    pair = _injected("truncated", variant)[:, 1]
    # the pair is cut at a whole sample, the interface's send before its converters
    assert np.count_nonzero(np.abs(out - pair) > 0.01) <= 5


def test_a_file_is_exported_in_many_ways():
    recorded = _noise(RATE)
    peak = np.max(np.abs(recorded))
    normalised = _through("file-hygiene", recorded, variant="normalised")
    np.testing.assert_allclose(normalised, recorded / peak, rtol=1e-12)
    over = _through("file-hygiene", recorded, variant="over-full-scale")
    assert _db(np.max(np.abs(over))) == pytest.approx(3.0)
    stereo = _through("file-hygiene", recorded, variant="stereo")
    assert stereo.shape == (RATE, 2)
    np.testing.assert_array_equal(stereo[:, 0], recorded)
    assert 0.1 < np.std(stereo[:, 1]) / np.std(recorded) < 0.9
    tail = _through("file-hygiene", recorded, variant="tail")
    np.testing.assert_array_equal(tail[:RATE], recorded)
    assert len(tail) == 3 * RATE
    assert tail[RATE:].any()
    dithered = _through("file-hygiene", recorded, variant="dithered")
    codes = dithered * 2**15
    np.testing.assert_array_equal(codes, np.round(codes))
    # triangular dither and rounding: a quarter of a step squared (Lipshitz, Wannamaker, 1992)
    assert np.var(dithered - recorded) == pytest.approx(2.0**-30 / 4.0, rel=0.02)


def test_an_mp3_is_late():
    recorded = _noise(RATE)
    narrow = signal.sosfilt(signal.butter(8, 8000.0, fs=RATE, output="sos"), recorded)
    out = _through("file-hygiene", narrow, variant="mp3")
    np.testing.assert_allclose(out[5000:], narrow[5000 - 1105 : -1105], rtol=0, atol=2e-4)


# From a rig file


def _rig_file(tmp_path, table):
    path = tmp_path / "faulty.toml"
    path.write_text(
        'name = "faulty"\nmaximum_send_dbfs = 0.0\n[interface]\ndriver = "simulated"\n'
        f'[chain]\ncircuit = "wire"\n{table}',
        encoding="utf-8",
    )
    return path


def test_a_rig_file_names_its_faults(tmp_path):
    table = "[interface.faults.lost-block]\nstrength = 64\nat_seconds = 12.3\n"
    faults = load_rig(str(_rig_file(tmp_path, table))).interface.faults
    assert faults == {"lost-block": Fault(strength=64, at_seconds=12.3)}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "lost-blok]",
            r"interface\.faults .*no fault is named 'lost-blok': did you mean lost-block",
        ),
        ("hum]\nvariant = 'loop'", r"fault hum has no variant 'loop': expected loop-50, loop-60"),
        ("standby]\nvariant = 'x'", r"fault standby has no variant 'x': it has none"),
        ("polarity-inverted]\nstrength = 1", r"polarity-inverted .*has no strength, got 1"),
        ("return-clipped]", r"return-clipped needs a strength in dBFS \(rail at which"),
        ("wrong-rate]\nstrength = 0", r"wrong-rate needs a strength in ratio .* 0\.2 to 5, got 0"),
        ("hum]\nstrength = 'loud'", r"interface\.faults\.hum\.strength .*got 'loud'"),
        ("hum]\nat_second = 1", r"unknown key interface\.faults\.hum\.at_second.*at_seconds"),
        ("file-hygiene]\nvariant = 'tail'", r"'tail' happens to a finished file"),
    ],
)
def test_a_fault_that_cannot_be_meant_is_refused(tmp_path, table, message):
    with pytest.raises(DefinitionError, match=message):
        connect(load_rig(str(_rig_file(tmp_path, f"[interface.faults.{table}\n"))))


def test_a_fault_that_cannot_be_meant_is_a_bug_in_a_call():
    with pytest.raises(ValueError, match="fault hum has no variant 'buzz'"):
        _through("hum", np.zeros(100), variant="buzz")


def test_the_document_has_a_row_for_every_fault():
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    table = page[page.index("## All of them") :].splitlines()
    rows = {line.split("`")[1]: line for line in table if line.startswith("| `")}
    assert rows.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        cells = [cell.strip() for cell in rows[name].strip("|").split("|")]
        assert cells[1] == (kind.unit or "-")
        if kind.minimum is not None:
            assert float(cells[2].split()[0]) == pytest.approx(kind.minimum, rel=1e-3)
        for variant in kind.variants:
            assert f"`{variant}`" in rows[name]

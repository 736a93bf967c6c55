import numpy as np
import pytest
import scipy.integrate
import scipy.signal

from profiler.analysis.noise import (
    NoiseAnalysis,
    a_weighted_power,
    a_weighting_db,
    band_power,
    noise,
    noise_floor_rms_dbfs,
    noise_spectrum,
    power_density,
)
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render

# IEC 61672-1:2013, table 3: nominal frequencies and the A-weighting there, to 0.1 dB. The exact
# frequencies are 1000 * 10^(n/10), from n = -20.
A_TABLE = (
    *(-70.4, -63.4, -56.7, -50.5, -44.7, -39.4, -34.6, -30.2, -26.2, -22.5, -19.1),
    *(-16.1, -13.4, -10.9, -8.6, -6.6, -4.8, -3.2, -1.9, -0.8, 0.0, 0.6, 1.0, 1.2, 1.3),
    *(1.2, 1.0, 0.5, -0.1, -1.1, -2.5, -4.3, -6.6, -9.3),
)
LADDER = {"kind": "staircase", "name": "ladder", "use": "analyse", "level_dbfs": -6.0}
LADDER |= {"lowest_dbfs": -46.0, "steps": 5, "seconds": 1.5}


def silence(name="quiet", seconds=1.2):
    return {"kind": "silence", "name": name, "use": "analyse", "seconds": seconds}


def plan_of(*segments, rate=48_000):
    return SignalDefinition.model_validate({"name": "mine", "segments": segments}).plan(rate)


def captured(plan, device):
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


def hissing(rms, seed=0):
    rng = np.random.default_rng(seed)
    return lambda x: x + rms * rng.standard_normal(len(x))


# -- the floor as the report has it -----------------------------------------------------


@pytest.mark.parametrize("level_dbfs", [-100.0, -60.0])
def test_the_noise_floor_is_the_noise_s_and_not_the_offset_s(level_dbfs):
    rng = np.random.default_rng(0)

    def device(x):
        return x + 0.01 + 10 ** (level_dbfs / 20) * rng.standard_normal(len(x))

    measured = noise_floor_rms_dbfs(captured(load_signal("quick").plan(48_000), device))
    assert measured == pytest.approx(level_dbfs, abs=0.3)  # 19 000 samples: sigma 0.05 dB


def test_no_silence_to_measure_noise_in_is_refused():
    capture = captured(load_signal("a440").plan(48_000), lambda x: x)
    with pytest.raises(CaptureError, match="holds no silence"):
        noise_floor_rms_dbfs(capture)
    with pytest.raises(CaptureError, match="holds no silence"):
        noise(capture)


# -- weighting --------------------------------------------------------------------------


def test_the_a_weighting_is_the_standard_s_table():
    exact = 1000.0 * 10.0 ** (np.arange(-20, 14) / 10)
    # the table is rounded to 0.1 dB
    assert np.max(np.abs(a_weighting_db(exact) - A_TABLE)) < 0.0501
    assert a_weighting_db(1000.0) == 0.0
    assert a_weighting_db(0.0) == -np.inf


def test_the_a_weighting_is_the_analogue_filter_of_four_poles():
    """Zeros at 0 and the poles of annex E, by scipy's analogue response."""
    poles = 2 * np.pi * np.array([20.598997] * 2 + [107.65265, 737.86223] + [12194.217] * 2)
    f = np.geomspace(10.0, 40_000.0, 50)
    _, response = scipy.signal.freqs_zpk([0] * 4, -poles, 1.0, 2 * np.pi * f)
    _, at_1k = scipy.signal.freqs_zpk([0] * 4, -poles, 1.0, [2 * np.pi * 1000.0])
    truth = 20 * np.log10(np.abs(response / at_1k))
    assert np.max(np.abs(a_weighting_db(f) - truth)) < 1e-9


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    ("frequency", "table_db"),
    [(1000.0 * 10 ** (n / 10), A_TABLE[n + 20]) for n in (-14, -10, 4, 12)],
)
def test_a_pure_tone_is_weighted_by_the_table(rate, frequency, table_db):
    tone = 0.01 * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    density = power_density(tone, rate)
    frequencies = np.fft.rfftfreq(rate, 1 / rate)
    unweighted = band_power(frequencies, density, 20.0, 20_000.0)
    assert 10 * np.log10(unweighted) == pytest.approx(-43.01, abs=0.01)
    weighted = 10 * np.log10(a_weighted_power(frequencies, density) / unweighted)
    assert weighted == pytest.approx(table_db, abs=0.06)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_white_noise_has_the_a_weighted_level_of_the_integral_to_half_the_rate(rate):
    found = noise(captured(plan_of(silence(seconds=8.0), rate=rate), hissing(1e-4)))
    integral, _ = scipy.integrate.quad(
        lambda f: 10 ** (a_weighting_db(f) / 10), 1, rate / 2, limit=300
    )
    # 8 s: known to 0.03 dB
    assert found.a_weighted_dbfs == pytest.approx(-80 + 10 * np.log10(2 / rate * integral), abs=0.1)
    in_band = 19_980.0 / (rate / 2)
    assert found.rms_dbfs == pytest.approx(-80 + 10 * np.log10(in_band), abs=0.1)
    assert found.hum is None
    assert found.hiss_rms_dbfs == found.rms_dbfs
    assert found.quiet_seconds == pytest.approx(7.9)


def test_what_lies_below_20_hz_and_an_offset_are_no_noise():
    def device(x):
        slow = 0.01 * np.sin(2 * np.pi * 3.0 * np.arange(len(x)) / 48_000)
        return hissing(1e-4)(x) + slow + 0.2

    found = noise(captured(plan_of(silence(seconds=4.0)), device))
    assert found.rms_dbfs == pytest.approx(-80 + 10 * np.log10(19_980 / 24_000), abs=0.15)


# -- spectrum ---------------------------------------------------------------------------


def test_thirds_of_an_octave_of_white_noise_rise_by_1_db_each():
    found = noise(captured(plan_of(silence(seconds=9.0)), hissing(1e-3)))
    bands = found.third_octaves
    assert [round(b.centre_hz) for b in bands[:3]] == [20, 25, 32]
    assert round(bands[-1].centre_hz) == 19953
    for band in bands:
        width = band.centre_hz * (10**0.05 - 10**-0.05)
        truth = -60 + 10 * np.log10(width / 24_000)
        assert abs(band.rms_dbfs - truth) < 4 * band.sigma_db
    assert bands[0].sigma_db > 10 * bands[-1].sigma_db
    total = 10 * np.log10(sum(10 ** (b.rms_dbfs / 10) for b in bands))
    assert total == pytest.approx(-60 + 10 * np.log10(22_370 / 24_000), abs=0.1)


def test_thirds_of_an_octave_end_below_half_the_sample_rate():
    found = noise(captured(plan_of(silence(), rate=44_100), hissing(1e-3)))
    assert found.third_octaves[-1].centre_hz == pytest.approx(15_849, abs=1)


def test_a_filter_shapes_the_spectrum_as_it_should():
    b, a = scipy.signal.butter(1, 2000.0, fs=48_000)

    def device(x):
        return x + scipy.signal.lfilter(b, a, hissing(1e-3)(np.zeros(len(x))))

    spectrum = noise_spectrum(captured(plan_of(silence(seconds=9.0)), device))
    for low in (200.0, 1000.0, 4000.0, 10_000.0):
        band = (spectrum.frequencies >= low) & (spectrum.frequencies < 1.3 * low)
        _, response = scipy.signal.freqz(b, a, spectrum.frequencies[band], fs=48_000)
        truth = 1e-6 / 24_000 * np.mean(np.abs(response) ** 2)
        cells = 0.3 * low * spectrum.independent_seconds
        assert np.mean(spectrum.density[band]) == pytest.approx(truth, rel=4 / np.sqrt(cells))


def test_sections_of_different_length_count_by_their_length():
    def device(x):
        out = hissing(1e-3)(x)
        out[: round(0.5 * 48_000)] *= 10.0
        return out

    plan = plan_of(silence("short", 0.5), silence("long", 2.1))
    found = noise(captured(plan, device))
    truth = (0.4 * 1e-4 + 2.0 * 1e-6) / 2.4 * 19_980 / 24_000
    assert found.rms_dbfs == pytest.approx(10 * np.log10(truth), abs=0.3)
    assert found.quiet_seconds == pytest.approx(2.4, abs=0.01)


# -- hum --------------------------------------------------------------------------------


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_told_apart_from_the_hiss_under_it(mains):
    peaks = {1: 1e-3, 3: 5e-4, 5: 3e-4}

    def device(x):
        t = np.arange(len(x)) / 48_000
        hum = sum(a * np.sin(2 * np.pi * mains * k * 1.0006 * t + k) for k, a in peaks.items())
        return hissing(1e-4)(x) + hum

    found = noise(captured(plan_of(silence(seconds=2.1)), device))
    assert (found.hum.mains_hz, found.hum.origin) == (mains, "loop")
    hum_power = sum(a**2 / 2 for a in peaks.values())
    assert found.hum.rms_dbfs == pytest.approx(10 * np.log10(hum_power), abs=0.1)
    weighted = sum(a**2 / 2 * 10 ** (a_weighting_db(mains * k) / 10) for k, a in peaks.items())
    assert found.hum.a_weighted_dbfs == pytest.approx(10 * np.log10(weighted), abs=0.15)
    assert [line.frequency_hz for line in found.hum.lines] == [mains * k for k in peaks]
    for line, peak in zip(found.hum.lines, peaks.values(), strict=True):
        assert line.level_dbfs == pytest.approx(20 * np.log10(peak), abs=0.25)
    # 17 dB below the hum, and yet what it is alone
    assert found.hiss_rms_dbfs == pytest.approx(-80 + 10 * np.log10(19_980 / 24_000), abs=0.2)
    spectrum = noise_spectrum(captured(plan_of(silence(seconds=2.1)), device))
    for order in peaks:  # where a line was, its surroundings are
        near = np.abs(spectrum.frequencies - mains * order) < 2.0
        assert np.mean(spectrum.hiss[near]) == pytest.approx(1e-8 / 24_000, rel=0.6, abs=0)
    both = 10 ** (found.hum.rms_dbfs / 10) + 10 ** (found.hiss_rms_dbfs / 10)
    assert found.rms_dbfs == pytest.approx(10 * np.log10(both), abs=0.02)


# -- gate -------------------------------------------------------------------------------


def test_a_gate_is_found_with_the_levels_between_which_it_opens():
    def device(x):
        steps = np.where(np.arange(len(x)) < 57_600, 0.0, 1.0)  # silence, then the ladder
        level = np.repeat([0, *(10 ** (np.arange(-46, 0, 10) / 20))], [57_600] + [14_400] * 5)
        opened = steps * (level > 10 ** (-30 / 20))
        return x * np.maximum(opened, 1e-3) + hissing(1e-5)(np.zeros(len(x)))

    found = noise(captured(plan_of(silence(), LADDER), device)).gate
    assert found.drop_db > 20.0
    assert (found.shut_at_dbfs, found.open_at_dbfs) == (pytest.approx(-36), pytest.approx(-26))


def test_what_only_hisses_has_no_gate():
    assert noise(captured(plan_of(silence(), LADDER), hissing(1e-4))).gate is None


def test_digital_silence_has_no_levels_and_is_said_to_be():
    found = noise(captured(plan_of(silence(), LADDER), lambda x: x))
    assert (found.rms_dbfs, found.a_weighted_dbfs, found.hiss_rms_dbfs) == (None, None, None)
    assert any("digital silence" in warning for warning in found.warnings)


# -- under a tone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "frequency"), [(44_100, 440.0), (48_000, 110.0), (96_000, 1760.0)]
)
def test_noise_under_a_tone_is_the_noise_and_not_the_distortion(rate, frequency):
    plan = plan_of(silence(), LADDER | {"frequency": frequency}, rate=rate)

    def device(x):
        return np.tanh(4 * x + 0.5 * x**2) + 10 ** (-70 / 20) * np.random.default_rng(
            3
        ).standard_normal(len(x))

    found = noise(captured(plan, device))
    in_band = 10 * np.log10(19_980 / (rate / 2))
    assert len(found.driven) == 5
    for step in found.driven:
        assert step.noise_rms_dbfs == pytest.approx(-70 + in_band, abs=0.35)
        assert step.snr_db == step.signal_rms_dbfs - step.noise_rms_dbfs
        assert step.noise_a_weighted_dbfs - step.noise_rms_dbfs == pytest.approx(
            found.a_weighted_dbfs - found.rms_dbfs, abs=0.5
        )
    amplitude = 10 ** (found.driven[0].played_dbfs / 20)
    assert found.driven[0].signal_rms_dbfs == pytest.approx(
        20 * np.log10(4 * amplitude / np.sqrt(2)), abs=0.1
    )


def test_hiss_that_grows_with_the_drive_is_seen_to():
    def device(x):
        level = np.abs(scipy.signal.hilbert(x))
        return x + 0.01 * level * np.random.default_rng(4).standard_normal(len(x))

    driven = noise(captured(plan_of(silence(), LADDER), device)).driven
    levels = [step.noise_rms_dbfs for step in driven]
    assert np.diff(levels) == pytest.approx([10.0] * 4, abs=0.6)
    # 0.01 of the peak, -3 dB for the tone's RMS
    assert driven[-1].snr_db == pytest.approx(40 - 3 + 0.8, abs=0.4)


# -- invariance -------------------------------------------------------------------------


def test_gain_and_polarity_of_the_recording_move_all_levels_alike():
    plan = plan_of(silence(), LADDER)

    def device(x):
        t = np.arange(len(x)) / 48_000
        return hissing(1e-4, seed=5)(x) + 1e-3 * np.sin(2 * np.pi * 50 * t)

    one = noise(captured(plan, device))
    other = noise(captured(plan, lambda x: -0.1 * device(x)))
    for name in ("rms_dbfs", "a_weighted_dbfs", "hiss_rms_dbfs", "hiss_a_weighted_dbfs"):
        assert getattr(other, name) == pytest.approx(getattr(one, name) - 20.0, abs=1e-3)
    assert other.hum.rms_dbfs == pytest.approx(one.hum.rms_dbfs - 20.0, abs=1e-3)
    for a, b in zip(one.driven, other.driven, strict=True):
        assert b.snr_db == pytest.approx(a.snr_db, abs=1e-3)
    assert (one.gate, other.gate) == (None, None)


def test_what_was_measured_is_saved_and_read_back(tmp_path):
    found = noise(captured(plan_of(silence(), LADDER), hissing(1e-4)))
    found.save(tmp_path / "noise.json")
    assert NoiseAnalysis.load_json(tmp_path / "noise.json") == found

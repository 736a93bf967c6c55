import functools

import numpy as np
import pytest
import scipy.signal

from profiler.analysis.cabinet import (
    CabinetAnalysis,
    CabinetIr,
    at_unity,
    cabinet,
    cabinet_ir,
    coherence,
    identified,
    measured_cabinet,
    of_minimum_phase,
    windowed,
)
from profiler.capture.alignment import AlignedCapture, Alignment, load_aligned
from profiler.capture.take import take
from profiler.errors import CaptureError
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render

RATES = (44_100, 48_000, 96_000)
BAND_HZ = (40.0, 16_000.0)
LATE_SECONDS = 0.0007  # of the microphone: 24 cm of air

SEGMENTS = (
    {"kind": "sweep", "name": "sweep", "use": "analyse", "level_dbfs": -12.0, "seconds": 3.0},
    {"kind": "noise", "name": "noise", "use": "train", "level_dbfs": -1.0, "seconds": 1.0},
    {"kind": "silence", "name": "end", "use": "analyse", "seconds": 0.5},
)


@functools.cache
def played(rate):
    plan = SignalDefinition.model_validate({"name": "mine", "segments": SEGMENTS}).plan(rate)
    return plan, render(plan).astype(np.float64)


def box(rate, late=LATE_SECONDS):
    """A cabinet of 60 ms: cone and box resonances, band limits, and air before it."""
    click = np.zeros(round(0.06 * rate))
    click[0] = 1.0
    low = scipy.signal.butter(2, 90.0, "highpass", fs=rate, output="sos")
    high = scipy.signal.butter(4, 5000.0, fs=rate, output="sos")
    response = scipy.signal.sosfilt(np.concatenate([low, high]), click)
    for frequency, quality, gain in ((120.0, 4.0, 0.8), (2400.0, 3.0, 1.0), (3500.0, 6.0, -0.5)):
        b, a = scipy.signal.iirpeak(frequency, quality, fs=rate)
        response = response + gain * scipy.signal.lfilter(b, a, response)
    response *= np.hanning(2 * len(click))[len(click) :]
    return np.concatenate([np.zeros(round(late * rate)), response])


def through(response, signal):
    return scipy.signal.oaconvolve(signal, response)[: len(signal)]


def hiss(n, rms, seed):
    return rms * np.random.default_rng(seed).standard_normal(n)


def captured(rate, response, *, drive=4.0, noise=0.0, gain=1.0, with_di=True, plan=None):
    """An amp that distorts, recorded before and after its cabinet."""
    plan, stimulus = played(rate) if plan is None else (plan, render(plan).astype(np.float64))
    amp = stimulus if drive is None else 0.4 * np.tanh(drive * stimulus)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    di = amp + hiss(len(amp), noise, 1)
    heard = gain * (through(response, amp) + hiss(len(amp), noise, 2))
    as_recorded = [each.astype(np.float32) for each in (stimulus, heard, di)]
    return AlignedCapture(plan, alignment, *as_recorded[: 3 if with_di else 2])


def band_esr(truth, found, rate):
    """Error to signal between 40 Hz and 16 kHz; both begin at the same moment."""
    frames = 4 * max(len(truth), len(found))
    f = np.fft.rfftfreq(frames, 1 / rate)
    band = (f >= BAND_HZ[0]) & (f <= BAND_HZ[1])
    one, other = (np.fft.rfft(each, frames)[band] for each in (truth, found))
    return np.sum(np.abs(one - other) ** 2) / np.sum(np.abs(one) ** 2)


def from_the_onset(ir, response):
    """A known response, beginning where a measured one does."""
    first = int(np.argmax(np.abs(response) >= 0.1 * np.max(np.abs(response)))) - ir.onset
    return response[first:] if first >= 0 else np.concatenate([np.zeros(-first), response])


# -- the impulse response ---------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_between_di_and_microphone_stands_the_cabinet_to_60_db(rate):
    response = box(rate)
    ir = cabinet_ir(captured(rate, response, noise=1e-5))
    assert ir.sample_rate == rate
    assert band_esr(from_the_onset(ir, response), ir.samples, rate) < 1e-7  # 1e-6 is asked


@pytest.mark.parametrize("rate", RATES)
def test_noise_40_db_below_the_music_leaves_it_at_50_db(rate):
    response = box(rate)
    capture = captured(rate, response, noise=1e-3)  # the DI's RMS is about -14 dBFS
    ir = cabinet_ir(capture)
    assert band_esr(from_the_onset(ir, response), ir.samples, rate) < 1e-5


@pytest.mark.parametrize("rate", RATES)
def test_without_a_di_a_sweep_gives_the_linear_part_of_all_of_it(rate):
    response = box(rate)
    measured = measured_cabinet(captured(rate, response, drive=None, noise=1e-5, with_di=False))
    assert measured.source == "stimulus"
    ir = measured.ir
    assert band_esr(from_the_onset(ir, response), ir.samples, rate) < 1e-6


def test_what_distorts_before_a_sweep_s_cabinet_changes_its_gain_only():
    response = box(48_000)
    plan = load_signal("sweep").plan(48_000)  # 8 s: its harmonics stand clear
    ir = cabinet_ir(captured(48_000, response, drive=4.0, with_di=False, plan=plan))
    truth = from_the_onset(ir, response)[: len(ir.samples)]
    truth = np.pad(truth, (0, len(ir.samples) - len(truth)))
    gain = np.dot(truth, ir.samples) / np.dot(truth, truth)
    assert 0.5 < gain < 1.6  # 0.4 tanh(4x) of a sine of -12 dBFS
    assert band_esr(truth, ir.samples / gain, 48_000) < 1e-5


def test_a_di_through_a_simulated_take_measures_the_simulated_cabinet(tmp_path):
    rate = 48_000
    response = box(rate)

    class Streamed:
        past = np.zeros(len(response) - 1)

        def process(self, block):
            joined = np.concatenate((self.past, block))
            self.past = joined[len(block) :]
            return scipy.signal.oaconvolve(joined, response, "valid")

    rig = Rig(
        name="mine",
        maximum_send_dbfs=0.0,
        interface=SimulatedInterface(driver="simulated", di_channel=2, polarity=-1, gain_db=-6.0),
        chain=Chain(circuit="drive"),
    )
    plan = played(rate)[0].bracketed()
    interface = Simulated(rig, cabinet=lambda sample_rate: Streamed())
    folder = take(rig, plan, tmp_path / "capture", interface)
    measured = measured_cabinet(load_aligned(folder))
    assert measured.source == "di"
    truth = -(10 ** (-6 / 20)) * from_the_onset(measured.ir, response)
    # the converters' noise is 1e-5, the DI of `drive` some 0.02
    assert band_esr(truth, measured.ir.samples, rate) < 1e-6


def test_the_linear_system_is_the_least_squares_one():
    """Against a dense solution of the same equations, where they are small."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000)
    y = through(np.array([0.5, -0.25, 0.125]), x) + 0.03 * rng.standard_normal(3000)
    x[:40] = x[-40:] = y[:40] = y[-40:] = 0.0
    found = identified(x, y, 2000, seconds=0.02)
    taps = len(found.impulse)
    columns = np.stack([np.roll(x, k - found.zero) for k in range(taps)], axis=1)
    dense = np.linalg.lstsq(columns, y, rcond=None)[0]
    # the prior takes a little off what is only noise
    assert np.max(np.abs(found.impulse - dense)) < 1e-4
    left = y - columns @ dense
    assert found.residual_esr == pytest.approx(np.dot(left, left) / np.dot(y, y), rel=1e-3)


def test_nothing_is_invented_where_nothing_was_played():
    rate = 48_000
    rng = np.random.default_rng(0)
    low = scipy.signal.butter(8, 3000.0, fs=rate, output="sos")
    x = scipy.signal.sosfilt(low, rng.standard_normal(4 * rate))
    y = x + 1e-3 * rng.standard_normal(len(x))
    found = identified(x, y, rate)
    spectrum = np.abs(np.fft.rfft(found.impulse))
    f = np.fft.rfftfreq(len(found.impulse), 1 / rate)
    assert np.all(np.abs(spectrum[(f > 50) & (f < 2800)] - 1.0) < 0.03)
    assert np.max(spectrum[f > 12_000]) < 0.1  # 100 dB down, 40 below the noise


# -- what is kept of it -----------------------------------------------------------------


def test_a_response_is_kept_until_it_is_lost_in_the_noise():
    rate = 48_000
    lengths = []
    for noise in (1e-5, 1.0, 30.0):
        ir = windowed(identified(*pair(rate, noise), rate), rate)
        lengths.append(len(ir.samples) / rate)
    # e^(-t/10 ms): -80 dB of its energy after 92 ms, less where noise hides the end
    assert lengths[0] == pytest.approx(0.102, abs=0.012)
    assert lengths[0] > lengths[1] > lengths[2] > 0.01


def pair(rate, noise):
    """Noise through a resonance that falls by e in 10 ms."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3 * rate)
    x[-rate // 2 :] = 0.0  # at rest at its end
    t = np.arange(round(0.2 * rate)) / rate
    response = np.exp(-t / 0.01) * np.sin(2 * np.pi * 200.0 * t + 1.5)
    return x, through(response, x) + noise * rng.standard_normal(len(x))


def test_both_ends_are_faded_and_what_rings_ahead_is_kept():
    rate = 48_000
    taps = scipy.signal.firwin(121, 0.5)  # a linear phase: it rings for 60 samples ahead
    response = np.concatenate([np.zeros(200), taps, np.zeros(100)])
    ir = cabinet_ir(captured(rate, response, noise=1e-6))
    assert ir.onset == 48
    assert abs(ir.samples[0]) < 1e-5
    assert abs(ir.samples[-1]) < 1e-5
    peak = int(np.argmax(np.abs(ir.samples)))
    # past the fade it is there, sample by sample, up to where the DI was not heard
    low = scipy.signal.firwin(401, 16_000, fs=rate)
    ahead = slice(peak - 20, peak)
    truth = response[200 + 60 - 20 : 200 + 60]
    smooth = scipy.signal.oaconvolve(ir.samples, low, "same")[ahead]
    wanted = scipy.signal.oaconvolve(response, low, "same")[240:260]
    assert np.max(np.abs(smooth - wanted)) < 2e-3 < np.max(np.abs(truth[:-5]))


def test_a_minimum_phase_response_is_found_again_behind_any_delay():
    rate = 48_000
    b, a = scipy.signal.butter(2, [100.0, 5000.0], "bandpass", fs=rate)
    click = np.zeros(4096)
    click[0] = 1.0
    minimum = scipy.signal.lfilter(b, a, click)
    delayed = CabinetIr(rate, np.concatenate([np.zeros(100), minimum]), 100)
    found = of_minimum_phase(delayed)
    assert found.onset == 0
    assert band_esr(minimum, found.samples, rate) < 1e-6
    # a polarity is not in the magnitude
    other = of_minimum_phase(CabinetIr(rate, -delayed.samples, 100))
    assert np.allclose(other.samples, found.samples, atol=1e-12)


def test_the_minimum_phase_version_has_the_magnitude_and_more_of_its_energy_early():
    capture = captured(48_000, box(48_000), noise=1e-5)
    measured = measured_cabinet(capture)
    minimum = of_minimum_phase(measured.ir)
    frames = 16_384
    f = np.fft.rfftfreq(frames, 1 / 48_000)
    band = (f > 60) & (f < 8000)
    one, other = (
        20 * np.log10(np.abs(np.fft.rfft(ir.samples, frames)))[band]
        for ir in (measured.ir, minimum)
    )
    assert np.max(np.abs(one - other)) < 0.05
    early = slice(0, 48)
    assert np.sum(minimum.samples[early] ** 2) > np.sum(measured.ir.samples[early] ** 2)


@pytest.mark.parametrize("gain", [0.01, -7.0])
def test_unity_takes_out_the_gain_and_leaves_the_polarity(gain):
    ir = CabinetIr(48_000, box(48_000, late=0.0), 0)
    scaled = at_unity(CabinetIr(48_000, gain * ir.samples, 0))
    assert np.allclose(scaled.samples, np.sign(gain) * at_unity(ir).samples)


# -- the record -------------------------------------------------------------------------


def test_a_cabinet_has_its_delay_band_and_polarity():
    rate = 48_000
    response = box(rate)
    capture = captured(rate, response, noise=1e-5)
    found = cabinet(capture)
    onset = np.argmax(np.abs(response) >= 0.1 * np.max(np.abs(response)))
    assert found.source == "di"
    assert found.delay_ms == pytest.approx(1e3 * onset / rate, abs=1.5e3 / rate)
    assert found.polarity == (1 if response[np.argmax(np.abs(response))] > 0 else -1)
    assert found.residual_esr < 1e-6
    assert found.coherent_from_hz < 40.0
    assert found.coherent_to_hz > 10_000.0
    assert found.warnings == ()
    f = np.geomspace(20.0, 20_000.0, 4000)
    _, h = scipy.signal.freqz(response, 1, f, fs=rate)
    power = np.abs(h) ** 2
    middle = np.mean(power[(f > 100) & (f < 5000)])
    assert found.gain_db == pytest.approx(10 * np.log10(middle), abs=0.05)
    inside = f[power > 0.1 * middle]
    # the record smooths over a third of an octave
    assert found.lowest_hz == pytest.approx(inside[0], rel=0.06)
    assert found.highest_hz == pytest.approx(inside[-1], rel=0.06)


@pytest.mark.parametrize("gain", [0.05, -2.0])
def test_gain_and_polarity_of_the_microphone_move_gain_and_polarity_only(gain):
    rate = 48_000
    one = cabinet(captured(rate, box(rate), noise=1e-4))
    other = cabinet(captured(rate, box(rate), noise=1e-4, gain=gain))
    assert other.gain_db == pytest.approx(one.gain_db + 20 * np.log10(abs(gain)), abs=1e-3)
    assert other.polarity == one.polarity * np.sign(gain)
    for name in ("length_ms", "delay_ms", "lowest_hz", "highest_hz", "coherent_to_hz"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)
    assert other.residual_esr == pytest.approx(one.residual_esr, rel=1e-3)


def test_the_way_of_the_sound_to_the_microphone_is_no_lack_of_coherence():
    rate = 48_000
    capture = captured(rate, box(rate, late=0.03))  # ten metres
    response = measured_cabinet(capture).response
    band = (response.frequencies > 100.0) & (response.frequencies < 5000.0)
    assert np.min(response.coherence[band]) > 0.985


def test_two_channels_that_are_not_of_one_cabinet_are_said_to_be():
    capture = captured(48_000, box(48_000))
    strange = AlignedCapture(
        capture.plan,
        capture.alignment,
        capture.stimulus,
        hiss(len(capture.stimulus), 0.1, 9).astype(np.float32),
        capture.di,
    )
    found = cabinet(strange)
    assert found.residual_esr > 0.8
    assert any("not explained by anything linear" in warning for warning in found.warnings)
    assert found.coherent_to_hz is None or found.coherent_to_hz < 2 * found.coherent_from_hz


def test_without_a_di_the_record_says_what_it_is_of():
    found = cabinet(captured(48_000, box(48_000), with_di=False, noise=1e-5))
    assert found.source == "stimulus"
    assert any("amp and cabinet together" in warning for warning in found.warnings)


def test_coherence_is_one_of_what_is_linear_and_falls_with_the_noise():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(48_000 * 6)
    f, value = coherence(x, 0.5 * x, 48_000)
    assert np.all(value[f > 20] > 1 - 1e-9)
    noisy = 0.5 * x + 0.5 * rng.standard_normal(len(x))
    # one half of the power is noise; 34 averages scatter by 0.09
    assert np.mean(coherence(x, noisy, 48_000)[1]) == pytest.approx(0.5, abs=0.03)


def test_what_was_measured_is_saved_and_read_back(tmp_path):
    found = cabinet(captured(48_000, box(48_000), noise=1e-5))
    found.save(tmp_path / "cabinet.json")
    assert CabinetAnalysis.load_json(tmp_path / "cabinet.json") == found


# -- refusals ---------------------------------------------------------------------------


def test_neither_a_di_nor_a_sweep_is_refused():
    plan = load_signal("a440").plan(48_000)
    with pytest.raises(CaptureError, match="holds no sweep and the rig no di_channel"):
        cabinet(captured(48_000, box(48_000), with_di=False, plan=plan))


def test_a_channel_that_is_silent_is_refused():
    capture = captured(48_000, box(48_000))
    silent = AlignedCapture(
        capture.plan,
        capture.alignment,
        capture.stimulus,
        capture.response,
        np.zeros_like(capture.response),
    )
    with pytest.raises(CaptureError, match="the source of the cabinet is silent"):
        cabinet(silent)


@pytest.mark.parametrize(("x", "y"), [(100, 100), (48_000, 47_999)])
def test_signals_that_do_not_fit_are_a_wrong_call(x, y):
    with pytest.raises(ValueError, match="two signals of one length, at least 1"):
        identified(np.ones(x), np.ones(y), 48_000)

import datetime
import functools
import json
import re
import time

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal

from benchmarks.alignment import LARGEST_BY_LOOP, LARGEST_BY_PHASE, RIGS, errors
from profiler import wav
from profiler.capture.alignment import Alignment, align, apply, load_aligned
from profiler.capture.calibration import LatencyCalibration, conditions, store
from profiler.capture.take import take
from profiler.errors import CaptureError, NotAligned, Silent
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import SAMPLE_RATES, load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000


@functools.cache
def played(name="latency", rate=RATE):
    """A signal between markers, and its samples."""
    plan = load_signal(name).plan(rate).bracketed()
    return plan, render(plan).astype(np.float64)


def delayed(signal, samples):
    """A pure delay of any fraction, by the phase."""
    frames = scipy.fft.next_fast_len(len(signal) + 16_384, real=True)
    turns = np.arange(frames // 2 + 1) / frames
    spectrum = scipy.fft.rfft(signal, frames) * np.exp(-2j * np.pi * turns * samples)
    return scipy.fft.irfft(spectrum, frames)[: len(signal)]


def distorted(signal, drive=6.0, rate=RATE):
    """A high pass of 80 Hz, a tanh, a low pass of 5 kHz: circuits, known to any frequency."""
    frames = scipy.fft.next_fast_len(len(signal) + 16_384, real=True)
    f = np.arange(frames // 2 + 1) * rate / frames
    high_passed = scipy.fft.irfft(scipy.fft.rfft(signal, frames) * 1j * f / (80 + 1j * f), frames)
    saturated = scipy.fft.rfft(np.tanh(drive * high_passed))
    return 0.5 * scipy.fft.irfft(saturated / (1 + 1j * f / 5000), frames)[: len(signal)]


def noisy(signal, rms_dbfs, seed=0):
    rng = np.random.default_rng(seed)
    return signal + 10 ** (rms_dbfs / 20) * rng.standard_normal(len(signal))


def test_the_loopback_is_known_to_2e_4_samples_at_40_db_through_heavy_distortion():
    plan, stimulus = played()
    bent = distorted(stimulus, drive=20.0)
    noise_dbfs = 20 * np.log10(np.sqrt(np.mean(stimulus**2))) - 40.0
    rng = np.random.default_rng(1)
    errors = []
    for seed in range(30):
        delay, polarity = rng.uniform(40, 4000), rng.choice([-1, 1])
        response = noisy(polarity * delayed(bent, delay), noise_dbfs, seed)
        loop = noisy(delayed(stimulus, delay), noise_dbfs, seed + 1000)
        alignment = align(plan, stimulus, response, loopback=loop)
        assert alignment.reference == "loopback"
        assert alignment.polarity == polarity
        errors.append(alignment.delay_samples - delay)
        assert abs(errors[-1]) < 6 * alignment.sigma_samples
    assert np.std(errors) <= 2e-4
    assert abs(np.mean(errors)) < 1e-4


@pytest.mark.parametrize("rig_name", RIGS)
def test_a_shipped_rig_is_aligned_by_its_loopback_and_by_its_excess_phase(rig_name):
    # ten takes of each; `python benchmarks/alignment.py` takes two hundred
    by_loop, by_phase = errors(rig_name, range(10)).T
    assert np.max(np.abs(by_loop)) < LARGEST_BY_LOOP
    assert np.max(np.abs(by_phase)) <= LARGEST_BY_PHASE


@pytest.mark.parametrize("noise_dbfs", [-100.0, -60.0, -45.0])
@pytest.mark.parametrize("polarity", [1, -1])
def test_the_excess_phase_is_within_a_tenth_of_a_sample_and_its_sigma_says_so(noise_dbfs, polarity):
    plan, stimulus = played()
    response = noisy(polarity * delayed(distorted(stimulus), 1234.567), noise_dbfs)
    alignment = align(plan, stimulus, response)
    assert alignment.reference == "excess-phase"
    assert alignment.polarity == polarity
    assert alignment.delay_samples == pytest.approx(1234.567, abs=0.1)
    assert abs(alignment.delay_samples - 1234.567) < 3 * alignment.sigma_samples


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_works_at_every_rate(rate):
    plan, stimulus = played(rate=rate)
    response = noisy(delayed(distorted(stimulus, rate=rate), 777.25), -90.0)
    assert align(plan, stimulus, response).delay_samples == pytest.approx(777.25, abs=0.1)


def test_a_plan_of_one_burst_is_aligned_by_its_two_brackets():
    plan, stimulus = played("a440")
    response = noisy(delayed(distorted(stimulus), 300.5), -80.0)
    alignment = align(plan, stimulus, response)
    assert alignment.delay_samples == pytest.approx(300.5, abs=0.1)
    assert [round(marker.at_seconds, 3) for marker in alignment.markers] == [0.5, 5.5]


def test_the_markers_are_told_with_their_delays_and_confidence():
    plan, stimulus = played()
    alignment = align(plan, stimulus, noisy(delayed(stimulus, 500.25), -80.0))
    placed = list(plan.of_kind("marker"))
    assert [m.at_seconds for m in alignment.markers] == [p.start / RATE for p in placed]
    for marker in alignment.markers:
        assert marker.delay_samples == pytest.approx(500.25, abs=0.01)
        assert marker.confidence_db > 12.0


def test_a_programme_without_markers_is_aligned_too():
    plan = load_signal("quick").plan(RATE)
    only = plan.model_copy(
        update={"segments": tuple(s for s in plan.segments if s.kind in ("guitar", "noise"))}
    )
    stimulus = render(only).astype(np.float64)
    response = noisy(-delayed(distorted(stimulus), 612.4), -80.0)
    alignment = align(only, stimulus, response)
    assert alignment.delay_samples == pytest.approx(612.4, abs=3 * alignment.sigma_samples)
    assert alignment.sigma_samples > 1.0  # H over changing levels is no circuit's
    assert alignment.polarity == -1
    assert alignment.markers == ()


def test_a_whole_delay_is_applied_without_changing_a_bit():
    plan, stimulus = played()
    response = np.concatenate([np.zeros(1024), stimulus])[: plan.frames].astype(np.float32)
    aligned = apply(plan, align(plan, stimulus, response), stimulus, response)
    end = plan.frames - 1024
    np.testing.assert_array_equal(aligned.response[:end], stimulus.astype(np.float32)[:end])


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.93])
def test_a_fraction_of_a_sample_is_resampled_away(fraction):
    plan, stimulus = played()
    response = delayed(stimulus, 200 + fraction)
    alignment = align(plan, stimulus, response, given_delay_samples=200 + fraction)
    aligned = apply(plan, alignment, stimulus, response)
    difference = aligned.response - stimulus
    error_db = 10 * np.log10(np.sum(difference**2) / np.sum(stimulus**2))
    assert error_db < -80.0  # the sinc is flat to 0.46 of the rate, the noise goes to 0.5
    assert aligned.response.shape == (plan.frames,)


def test_the_polarity_stays_the_device_s():
    plan, stimulus = played()
    response = -delayed(stimulus, 64.0)
    aligned = apply(plan, align(plan, stimulus, response), stimulus, response)
    assert np.dot(aligned.response, stimulus) < 0.0


def test_a_calibration_that_agrees_is_the_delay():
    plan, stimulus = played()
    response = noisy(delayed(distorted(stimulus), 900.3), -80.0)
    alignment = align(plan, stimulus, response, calibrated_delay_samples=900.0)
    assert alignment.reference == "calibration"
    assert alignment.delay_samples == 900.0


def test_a_calibration_that_the_take_contradicts_is_refused():
    plan, stimulus = played()
    response = noisy(delayed(distorted(stimulus), 900.3), -80.0)
    with pytest.raises(NotAligned, match="the latency has changed"):
        align(plan, stimulus, response, calibrated_delay_samples=898.0)


def test_a_given_delay_is_taken_where_the_pair_cannot_be_aligned():
    plan, stimulus = played()
    other = noisy(np.zeros(plan.frames), -20.0) * np.linspace(0.1, 1.0, plan.frames)
    alignment = align(plan, stimulus, other, given_delay_samples=12.5)
    assert (alignment.reference, alignment.delay_samples) == ("given", 12.5)


def drifting(stimulus, ppm, delay):
    """The stimulus by a clock that is off, from eight times as many samples."""
    fine = scipy.signal.resample_poly(stimulus, 8, 1, window=("kaiser", 12.0))
    at = 8 * (np.arange(len(stimulus)) * (1 - 1e-6 * ppm) - delay)
    return scipy.ndimage.map_coordinates(fine, [at], order=3, mode="constant")


@pytest.mark.parametrize("drift_ppm", [0.0, 0.5, -1.5])
def test_a_small_drift_is_measured_and_told(drift_ppm):
    plan, stimulus = played()
    response = noisy(drifting(stimulus, drift_ppm, 400.0), -100.0)
    assert align(plan, stimulus, response).drift_ppm == pytest.approx(drift_ppm, abs=0.02)


@pytest.mark.parametrize("drift_ppm", [6.0, -40.0, 150.0])
def test_a_drift_is_refused_as_a_drift_and_not_as_a_slip(drift_ppm):
    plan, stimulus = played()
    response = noisy(drifting(stimulus, drift_ppm, 400.0), -80.0)
    with pytest.raises(NotAligned, match=r"drifts .*by one clock") as refusal:
        align(plan, stimulus, response)
    told = float(re.search(r"\(([-+.\d]+) ppm", str(refusal.value))[1])
    assert told == pytest.approx(drift_ppm, rel=0.01)


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (lambda stimulus: noisy(0 * stimulus, -60.0), Silent, "only noise came back"),
        (lambda stimulus: stimulus[::-1].copy(), NotAligned, "no marker of the signal 'latency'"),
        (
            lambda stimulus: np.concatenate([stimulus[30_000:], np.zeros(30_000)]),
            NotAligned,
            "begins .* into the stimulus",
        ),
        (
            lambda stimulus: np.concatenate([np.zeros(70_000), stimulus[:-70_000]]),
            NotAligned,
            "expected -0.1 to 1 s",
        ),
        (
            lambda stimulus: np.where(np.arange(len(stimulus)) < 2.9 * RATE, stimulus, 0.0),
            NotAligned,
            "truncated",
        ),
        (
            lambda stimulus: resampled(stimulus, 44_100),
            NotAligned,
            "at 44100 Hz but is labelled 48000 Hz",
        ),
        (
            lambda stimulus: played("sweep")[1][: len(stimulus)],
            NotAligned,
            "of the signal 'sweep', not of 'latency'",
        ),
    ],
)
def test_a_response_that_cannot_be_the_stimulus_s_is_refused_with_its_cause(
    response, error, message
):
    plan, stimulus = played()
    with pytest.raises(error, match=message):
        align(plan, stimulus, noisy(response(stimulus), -95.0))


def resampled(stimulus, rate):
    """Played at 48 kHz from a file made for `rate`."""
    other = played(rate=rate)[1]
    return np.pad(other, (0, max(0, len(stimulus) - len(other))))[: len(stimulus)]


def test_digital_silence_is_refused():
    plan, stimulus = played()
    with pytest.raises(Silent, match="nothing came back"):
        align(plan, stimulus, np.zeros(plan.frames))


def test_a_tone_alone_is_refused_for_its_band():
    plan = load_signal("a440").plan(RATE)
    stimulus = render(plan).astype(np.float64)
    with pytest.raises(NotAligned, match="no wideband part"):
        align(plan, stimulus, noisy(delayed(stimulus, 100.0), -80.0))


def test_arrays_of_other_lengths_are_a_wrong_call():
    plan, stimulus = played()
    with pytest.raises(ValueError, match="frames of response"):
        align(plan, stimulus, stimulus[:-1])


def test_the_standard_take_is_aligned_within_five_seconds():
    plan, stimulus = played("standard")
    response = noisy(delayed(stimulus, 1000.3), -80.0)
    begun = time.process_time()
    apply(plan, align(plan, stimulus, response, loopback=response), stimulus, response)
    assert time.process_time() - begun < 5.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A capture of the shipped wire, which has no loopback channel here."""
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))
    rig = load_rig("wire")
    interface = rig.interface.model_copy(
        update={"loopback_channel": None, "round_trip_samples": 321.4}
    )
    rig = rig.model_copy(update={"interface": interface})
    plan = load_signal("latency").plan(RATE)
    return take(rig, plan, tmp_path / "capture", connect(rig))


def calibrated(rig, round_trip_samples):
    """As `ampscope calibrate latency` would have stored it."""
    store(
        rig,
        LatencyCalibration(
            conditions=conditions(rig),
            round_trip_samples=round_trip_samples,
            spread_samples=0.0,
            repeats=3,
            polarity=1,
            created_utc=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        ),
    )


def test_a_capture_is_loaded_aligned_and_its_alignment_kept(folder):
    capture = load_aligned(folder)
    assert capture.alignment.delay_samples == pytest.approx(321.4, abs=0.1)
    assert Alignment.load_json(folder.alignment_path) == capture.alignment
    keys = set(json.loads(folder.alignment_path.read_text()))
    assert keys == {
        "schema",
        "delay_samples",
        "sigma_samples",
        "polarity",
        "reference",
        "drift_ppm",
        "drift_sigma_ppm",
        "markers",
    }


def test_a_kept_alignment_is_not_measured_again(folder):
    kept = load_aligned(folder).alignment.model_copy(update={"delay_samples": 300.0})
    kept.save(folder.alignment_path)
    assert load_aligned(folder).alignment.delay_samples == 300.0


def test_a_damaged_alignment_is_measured_again(folder):
    whole = load_aligned(folder).alignment
    folder.alignment_path.write_text("{")
    assert load_aligned(folder).alignment == whole


def test_a_calibration_made_since_is_used(folder):
    assert load_aligned(folder).alignment.reference == "excess-phase"
    calibrated(folder.record().rig, 321.41)
    alignment = load_aligned(folder).alignment
    assert (alignment.reference, alignment.delay_samples) == ("calibration", 321.41)


def test_a_capture_whose_audio_has_changed_is_refused(folder):
    load_aligned(folder)
    response, _ = wav.read(folder.response_path)
    wav.write(folder.response_path, response * 0.5, RATE)
    with pytest.raises(CaptureError, match="has changed since it was recorded"):
        load_aligned(folder)


def test_the_loopback_channel_of_a_capture_is_what_it_is_aligned_by(tmp_path):
    rig = load_rig("drive")
    interface = rig.interface.model_copy(update={"loopback_channel": 2})
    rig = rig.model_copy(update={"interface": interface})
    folder = take(rig, load_signal("latency").plan(RATE), tmp_path / "capture", connect(rig))
    alignment = load_aligned(folder).alignment
    assert alignment.reference == "loopback"
    assert alignment.delay_samples == pytest.approx(interface.round_trip_samples, abs=1e-3)


class Taps:
    """A cabinet of a few taps as a stream."""

    def __init__(self, taps):
        self._taps, self._past = np.array(taps), np.zeros(len(taps) - 1)

    def process(self, block):
        joined = np.concatenate((self._past, block))
        self._past = joined[len(block) :]
        return np.convolve(joined, self._taps, "valid")


@pytest.mark.parametrize("loopback", [None, 2])
def test_the_di_of_a_capture_is_aligned_with_its_response(tmp_path, loopback):
    taps = [0.7, 0.0, -0.4, 0.1]
    rig = load_rig("drive")
    settings = {"loopback_channel": loopback, "di_channel": 3, "noise_rms_dbfs": -200.0}
    interface = rig.interface.model_copy(update=settings)
    rig = rig.model_copy(update={"interface": interface})
    through = Simulated(rig, cabinet=lambda rate: Taps(taps))
    folder = take(rig, load_signal("latency").plan(RATE), tmp_path / "capture", through)
    recorded, _ = wav.read(folder.response_path)
    assert recorded.shape[1] == (2 if loopback is None else 3)
    capture = load_aligned(folder)
    heard = np.convolve(capture.di.astype(np.float64), taps)[: len(capture.di)]
    assert np.max(np.abs(capture.response - heard)) < 1e-6 < 1e-2 < np.max(np.abs(heard))


def test_a_capture_without_a_di_has_none(folder):
    assert load_aligned(folder).di is None


def test_what_the_user_accepts_is_not_refused():
    plan, stimulus = played()
    drifting = np.interp(
        np.arange(len(stimulus)) * (1 - 8e-6) - 300, np.arange(len(stimulus)), stimulus
    )
    with pytest.raises(NotAligned, match="drifts by"):
        align(plan, stimulus, drifting)
    alignment = align(plan, stimulus, drifting, accepted=("clock-drift",))
    assert alignment.drift_ppm == pytest.approx(8.0, abs=0.2)
    with pytest.raises(NotAligned, match="drifts by"):
        align(plan, stimulus, drifting, accepted=("lost-block",))

    slipped = np.concatenate([np.zeros(300), stimulus[:100_000], stimulus[100_064:]])
    slipped = np.pad(slipped, (0, 64))[: len(stimulus)]
    with pytest.raises(NotAligned, match="64 samples were lost"):
        align(plan, stimulus, slipped)
    # of two markers a slip between them is a drift as well
    accepted = ("lost-block", "clock-drift")
    assert align(plan, stimulus, slipped, accepted=accepted).polarity == 1

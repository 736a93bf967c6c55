import functools

import numpy as np
import pytest

from profiler import wav
from profiler.capture.alignment import fractional_taps
from profiler.capture.folder import Part
from profiler.capture.joining import CROSSFADE_SECONDS, Offset, Played, Recording, join, moved
from profiler.circuit.device import create
from profiler.errors import NotAligned
from profiler.stimulus import synthesis
from profiler.stimulus.plan import Marker, Noise, SignalDefinition

RATE = 48_000


@functools.cache
def a_plan():
    segments = (
        Noise(name="before", kind="noise", use="train", level_dbfs=-3.0, seconds=0.5),
        Marker(name="marker", kind="marker", use="align", level_dbfs=-12.0),
        Noise(name="after", kind="noise", use="train", level_dbfs=-3.0, seconds=0.5, seed=1),
    )
    return SignalDefinition(name="short", segments=segments).plan(RATE)


@functools.cache
def response(circuit):
    device = create(circuit, {}, RATE)
    silence = np.zeros(RATE)
    return device.process(np.concatenate([synthesis.render(a_plan()), silence]))


def late(signal, samples):
    """A signal moved by any number of samples, by another way than the one under test."""
    spectrum = np.fft.rfft(np.concatenate([signal, np.zeros(len(signal))]))
    turns = np.exp(-2j * np.pi * np.arange(len(spectrum)) * samples / (2 * len(signal)))
    return np.fft.irfft(spectrum * turns)[: len(signal)]


@pytest.fixture
def recorded(tmp_path):
    """Writes what was recorded, with noise of its own."""
    synthesis.write(tmp_path / "stimulus.wav", a_plan())

    def write(name, samples, noise_dbfs=-100.0):
        noise = np.random.default_rng(len(name)).standard_normal(len(samples))
        samples = samples + 10 ** (noise_dbfs / 20) * noise
        wav.write(tmp_path / f"{name}.wav", samples.astype(np.float32), RATE)
        return Recording(tmp_path / f"{name}.wav", 0, len(samples))

    return write


@pytest.fixture
def played(tmp_path):
    return Played(a_plan(), tmp_path / "stimulus.wav")


MARKER = next(a_plan().of_kind("marker"))


@pytest.mark.parametrize("circuit", ["wire", "tweed", "drive"])
@pytest.mark.parametrize("apart", [0.0, 64.0, 7.37, -0.5])
def test_two_recordings_are_placed_to_a_thousandth_of_a_sample_whatever_the_device(
    circuit, apart, played, recorded
):
    first = recorded("a", late(response(circuit), 300.0))
    second = recorded("bb", late(response(circuit), 300.0 + apart))
    found = played.offset(MARKER, first, second)
    assert found.samples == pytest.approx(apart, abs=1e-3)
    assert found.gain_db == pytest.approx(0.0, abs=0.01)
    assert found.nearest == pytest.approx(apart, abs=1e-3)


def test_the_stated_uncertainty_is_that_of_the_noise(played, recorded):
    quiet = late(response("wire"), 300.0)
    errors, sigmas = [], []
    for n in range(12):
        first, second = (recorded("x" * (2 * n + k + 1), quiet, -60.0) for k in range(2))
        found = played.offset(MARKER, first, second)
        errors.append(found.samples)
        sigmas.append(found.sigma)
    assert np.std(errors) < 1e-3
    assert 0.5 < np.std(errors) / np.mean(sigmas) < 2.0


def test_an_offset_that_may_be_whole_is_taken_for_whole():
    assert Offset(3.0004, 1e-6).nearest == 3.0
    assert Offset(3.02, 0.01).nearest == 3.0
    assert Offset(3.02, 0.001).nearest == 3.02


@pytest.mark.parametrize("gain", [1.03, 0.5, -1.0])
def test_a_device_that_has_changed_is_not_joined(gain, played, recorded):
    first = recorded("a", late(response("wire"), 300.0))
    second = recorded("bb", gain * late(response("wire"), 300.0))
    with pytest.raises(NotAligned, match="the device has changed in between"):
        played.joint(MARKER, first, second)


def test_a_marker_that_is_cut_off_is_refused(played, recorded):
    whole = late(response("wire"), 300.0)
    recording = recorded("a", whole[: MARKER.stop + 290])
    with pytest.raises(NotAligned, match="'marker' is cut off"):
        played.find(MARKER, recording)
    assert played.last_whole_marker(recording) is None
    assert played.last_whole_marker(recorded("a", whole[: MARKER.stop + 310])) == MARKER


def test_silence_holds_no_marker(played, recorded):
    with pytest.raises(NotAligned, match="'marker' was not found"):
        played.find(MARKER, recorded("a", np.zeros(3 * RATE)))


def test_a_join_is_each_recording_where_it_is_due_and_a_crossfade_between(tmp_path):
    plan = a_plan()
    ones, twos = np.ones((plan.frames, 2)), np.full((plan.frames, 2), 2.0)
    twos[:, 1] = np.arange(plan.frames) / plan.frames
    sources = {}
    for number, samples in ((1, ones), (3, twos)):
        sources[number] = tmp_path / f"{number}.wav"
        wav.write(sources[number], samples.astype(np.float32), RATE)
    seam, shift = 30_000, -5_000
    parts = (
        Part(recorded_in=1, start=0, stop=seam, shift_samples=0.0),
        Part(recorded_in=3, start=seam, stop=plan.frames, shift_samples=shift),
    )
    join(parts, sources, tmp_path / "joined.wav", plan)
    joined, _ = wav.read(tmp_path / "joined.wav")
    half = round(CROSSFADE_SECONDS * RATE / 2)
    np.testing.assert_array_equal(joined[: seam - half], ones[: seam - half])
    np.testing.assert_array_equal(
        joined[seam + half :], twos[seam + half + shift : shift].astype(np.float32)
    )
    np.testing.assert_allclose(
        joined[seam - half : seam + half, 0], np.linspace(1, 2, 2 * half), atol=2e-3
    )


def test_parts_are_cut_and_moved_as_what_they_make_is():
    parts = (
        Part(recorded_in=1, start=0, stop=100, shift_samples=0.0),
        Part(recorded_in=2, start=100, stop=200, shift_samples=-40.0),
        Part(recorded_in=1, start=200, stop=300, shift_samples=5.0),
    )
    found = moved(parts, 50, 170, 20.0)  # the response's samples 70 to 190
    assert [(p.recorded_in, p.start, p.stop, p.shift_samples) for p in found] == [
        (1, 50, 80, 20.0),
        (2, 80, 170, -20.0),
    ]
    assert moved(parts, 0, 300, 0.0) == list(parts)


def test_the_taps_read_a_fraction_ahead():
    signal = np.sin(2 * np.pi * 0.01 * np.arange(1000))
    ahead = np.convolve(signal, fractional_taps(0.3), "same")[300:700]
    np.testing.assert_allclose(
        ahead, np.sin(2 * np.pi * 0.01 * (np.arange(300, 700) + 0.3)), atol=2e-5
    )

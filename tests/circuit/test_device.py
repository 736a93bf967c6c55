import re

import numpy as np
import pytest
from scipy import signal

from profiler.circuit.device import WithCabinet, create
from profiler.errors import DefinitionError

SETTINGS = {
    "wire": {},
    "tweed": {"gain": 5.0, "tone": 6.0, "master": 8.0},
    "drive": {"drive": 5.0, "tone": 5.0, "level": 9.0},
}
CIRCUITS = sorted(SETTINGS)


def _playing(frames, seed=0):
    rng = np.random.default_rng(seed)
    envelope = np.abs(np.sin(np.arange(frames) * 2e-3)) ** 3
    return 0.4 * envelope * rng.standard_normal(frames).clip(-2.5, 2.5)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_how_a_stream_is_cut_changes_no_bit_of_it(circuit):
    stimulus = _playing(6000)
    whole = create(circuit, SETTINGS[circuit], 48_000).process(stimulus)
    device = create(circuit, SETTINGS[circuit], 48_000)
    cuts = [1, 2, 2, 3, 70, 134, 135, 1000, 1256, 1512, 5999]
    parts = [device.process(part) for part in np.split(stimulus, cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.float64


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_silence_in_is_exact_silence_out(circuit):
    device = create(circuit, SETTINGS[circuit], 48_000)
    assert np.all(device.process(np.zeros(24_000)) == 0.0)


def test_a_wire_hands_on_a_copy():
    stimulus = _playing(100).astype(np.float32)
    response = create("wire", {}, 48_000).process(stimulus)
    np.testing.assert_array_equal(response, stimulus)
    assert not np.shares_memory(response, stimulus)


@pytest.mark.parametrize("circuit", ["tweed", "drive"])
@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_every_sample_rate_hears_the_same_device(circuit, rate):
    # half a second of a guitar's band, periodic so that resampling by Fourier is exact
    rng = np.random.default_rng(1)
    frames, seconds = 24_000, 0.5
    spectrum = np.zeros(frames // 2 + 1, complex)
    spectrum[41:2000] = rng.standard_normal(1959) + 1j * rng.standard_normal(1959)
    at_48k = np.fft.irfft(spectrum)
    at_48k *= 0.5 / np.max(np.abs(at_48k))
    responses = []
    for sample_rate in (48_000, rate):
        stimulus = np.tile(signal.resample(at_48k, round(seconds * sample_rate)), 3)
        device = create(circuit, SETTINGS[circuit], sample_rate)
        response = np.roll(device.process(stimulus), -device.latency_samples)
        period = response[len(stimulus) // 3 : 2 * len(stimulus) // 3]
        common = np.fft.rfft(period)[: round(18_000 * seconds)] / len(period)
        responses.append(common)
    error = np.sum(np.abs(responses[1] - responses[0]) ** 2) / np.sum(np.abs(responses[0]) ** 2)
    # measured 6e-9 at 44.1 kHz, whose internal rate differs, and 1e-11 at the others
    assert error < 1e-7


@pytest.mark.parametrize(("circuit", "limit_db"), [("tweed", -65.0), ("drive", -60.0)])
def test_what_folds_back_stays_far_below_a_high_tone(circuit, limit_db):
    sample_rate, frequency = 48_000, 4186  # a whole number of periods a second
    tone = 0.9 * np.sin(2 * np.pi * frequency * np.arange(2 * sample_rate) / sample_rate)
    response = create(circuit, SETTINGS[circuit], sample_rate).process(tone)[sample_rate:]
    power = np.abs(np.fft.rfft(response)[:20_000]) ** 2
    harmonic = np.arange(20_000) % frequency == 0
    folded_db = 10 * np.log10(np.sum(power[~harmonic]) / np.sum(power[harmonic][1:]))
    assert folded_db < limit_db


def test_an_unknown_control_is_refused_with_those_there_are():
    with pytest.raises(DefinitionError, match=r"no control 'bass'.* gain, tone, master"):
        create("tweed", {"gain": 5.0, "bass": 3.0}, 48_000)
    with pytest.raises(DefinitionError, match=r"wire has no control 'gain': it has none"):
        create("wire", {"gain": 5.0}, 48_000)


@pytest.mark.parametrize("position", [-0.1, 10.1, float("nan"), "noon"])
def test_a_position_that_no_knob_has_is_refused(position):
    with pytest.raises(DefinitionError, match=f"stands at {re.escape(repr(position))}"):
        create("drive", {"tone": position}, 48_000)


def test_a_control_that_is_not_named_stands_in_the_middle():
    stimulus = _playing(500)
    named = create("drive", {"drive": 5.0, "tone": 5.0, "level": 5.0}, 48_000)
    np.testing.assert_array_equal(
        named.process(stimulus), create("drive", {}, 48_000).process(stimulus)
    )


@pytest.mark.parametrize("circuit", ["tweed", "drive"])
@pytest.mark.parametrize("position", [0.0, 10.0])
def test_every_knob_at_its_end_still_plays(circuit, position):
    device = create(circuit, dict.fromkeys(SETTINGS[circuit], position), 48_000)
    response = device.process(_playing(4000))
    assert np.isfinite(response).all()
    assert np.max(np.abs(response)) < 1.5


def test_an_unknown_circuit_is_a_bug():
    with pytest.raises(ValueError, match="circuit='plexi'"):
        create("plexi", {}, 48_000)


class Taps:
    """A cabinet of a few taps as a stream."""

    def __init__(self, taps):
        self._taps, self._past = np.array(taps), np.zeros(len(taps) - 1)

    def process(self, block):
        joined = np.concatenate((self._past, block))
        self._past = joined[len(block) :]
        return np.convolve(joined, self._taps, "valid")


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_device_is_heard_through_its_cabinet_and_its_di_is_not(circuit):
    stimulus = _playing(3000)
    bare = create(circuit, SETTINGS[circuit], 48_000)
    device = WithCabinet(create(circuit, SETTINGS[circuit], 48_000), Taps([0.5, -0.3, 0.2]))
    assert device.latency_samples == bare.latency_samples
    line = bare.process(stimulus)
    parts = [device.process_with_di(part) for part in np.split(stimulus, [100, 1001])]
    heard, di = (np.concatenate(side) for side in zip(*parts, strict=True))
    np.testing.assert_array_equal(di, line)
    np.testing.assert_allclose(heard, np.convolve(line, [0.5, -0.3, 0.2])[:3000], atol=1e-12)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_without_a_cabinet_the_di_is_what_is_heard(circuit):
    heard, di = create(circuit, SETTINGS[circuit], 48_000).process_with_di(_playing(1000))
    np.testing.assert_array_equal(heard, di)

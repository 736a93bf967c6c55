import functools
import itertools

import numpy as np
import pytest

from profiler import wav
from profiler.capture.averaging import average
from profiler.capture.joining import Played, Recording
from profiler.capture.take import take
from profiler.errors import NotAligned
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.rig.simulated import Simulated
from profiler.stimulus import synthesis
from profiler.stimulus.plan import Marker, Noise, SignalDefinition

RATE = 48_000
LATENCY = 1000.0
NOISE_DBFS = -60.0


@functools.cache
def a_plan():
    segments = [
        Marker(name=f"marker {n}", kind="marker", use="align", level_dbfs=-12.0) for n in range(3)
    ]
    noise = Noise(name="noise", kind="noise", use="train", level_dbfs=-3.0, seconds=2.0)
    segments.insert(1, noise)
    return SignalDefinition(name="short", segments=tuple(segments)).plan(RATE).bracketed()


@functools.cache
def a_rig():
    return Rig(
        name="w",
        maximum_send_dbfs=0.0,
        interface=SimulatedInterface(driver="simulated", noise_rms_dbfs=-200.0),
        chain=Chain(circuit="wire"),
    )


@functools.cache
def noiseless(fraction):
    """What a pass records but for its noise, `fraction` of a sample late."""
    settings = a_rig().interface.model_copy(update={"round_trip_samples": LATENCY + fraction})
    blocks = []
    Simulated(a_rig().model_copy(update={"interface": settings})).play_record(
        [synthesis.render(a_plan())], a_plan().frames, lambda b: blocks.append(b.samples[:, 0])
    )
    return np.concatenate(blocks)


def a_pass(seed, *, fraction=0.0, whole=0, noise_dbfs=NOISE_DBFS):
    noise = np.random.default_rng(seed).standard_normal(a_plan().frames)
    return np.roll(noiseless(fraction), whole) + 10 ** (noise_dbfs / 20) * noise


def lost(samples, at_seconds, recorded):
    at = round(at_seconds * RATE)
    return np.concatenate([np.delete(recorded, slice(at, at + samples)), np.zeros(samples)])


def averaged(tmp_path, passes):
    """The average of passes, and its samples."""
    synthesis.write(tmp_path / "stimulus.wav", a_plan())
    recordings = []
    for number, samples in enumerate(passes, 1):
        path = tmp_path / f"{number}.wav"
        wav.write(path, samples.astype(np.float32), RATE)
        recordings.append((number, Recording(path, 0, len(samples))))
    found = average(Played(a_plan(), tmp_path / "stimulus.wav"), recordings, tmp_path / "mean.wav")
    return found, wav.read_mono(tmp_path / "mean.wav")[0].astype(np.float64)


def noise_of(mean, fraction=0.0):
    error = (mean - noiseless(fraction))[2000:-2000]
    return 10 * np.log10(np.mean(error**2))


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_noise_falls_by_the_number_of_passes_and_so_it_is_told(count, tmp_path):
    found, mean = averaged(tmp_path, [a_pass(seed) for seed in range(count)])
    expected_db = 10 * np.log10(count)
    assert noise_of(mean) == pytest.approx(NOISE_DBFS - expected_db, abs=0.1)
    assert found.snr_gain_db == pytest.approx(expected_db, abs=0.5)
    assert found.noise_before_dbfs == pytest.approx(NOISE_DBFS, abs=0.2)
    assert found.noise_after_dbfs == pytest.approx(NOISE_DBFS - expected_db, abs=0.5)
    assert not found.rejected
    assert [part.shift_samples for part in found.parts] == [0.0] * count


def test_passes_at_other_delays_are_laid_upon_the_first(tmp_path):
    passes = [
        a_pass(0),
        a_pass(1, whole=64),
        a_pass(2, fraction=0.37, whole=-12),
        a_pass(3, fraction=-0.2),
    ]
    found, mean = averaged(tmp_path, passes)
    shifts = [part.shift_samples for part in found.parts]
    # 60 dB above the noise a marker is placed to a thousandth of a sample
    assert shifts == pytest.approx([0.0, 64.0, -11.63, -0.2], abs=2e-3)
    assert noise_of(mean) == pytest.approx(NOISE_DBFS - 6.0, abs=0.5)


@pytest.mark.parametrize("broken", [0, 2])
@pytest.mark.parametrize("samples", [1, 256])
def test_a_pass_that_lost_samples_is_rejected_and_told(samples, broken, tmp_path):
    passes = [a_pass(seed) for seed in range(4)]
    passes[broken] = lost(samples, 2.0, passes[broken])
    found, mean = averaged(tmp_path, passes)
    (rejected,) = found.rejected
    assert rejected.recorded_in == broken + 1
    assert f"{samples} samples were lost" in rejected.reason
    assert noise_of(mean) == pytest.approx(NOISE_DBFS - 10 * np.log10(3), abs=0.5)


def test_a_pass_with_a_noise_in_it_is_rejected_and_told(tmp_path):
    passes = [a_pass(seed) for seed in range(4)]
    passes[1][80_000:90_000] += 0.05 * np.random.default_rng(9).standard_normal(10_000)
    found, mean = averaged(tmp_path, passes)
    (rejected,) = found.rejected
    assert rejected.recorded_in == 2
    assert "differs from the other passes by" in rejected.reason
    assert noise_of(mean) == pytest.approx(NOISE_DBFS - 10 * np.log10(3), abs=0.5)


def test_a_pass_in_which_nothing_came_back_is_rejected(tmp_path):
    found, _ = averaged(tmp_path, [a_pass(0), 1e-4 * np.ones(a_plan().frames), a_pass(2)])
    (rejected,) = found.rejected
    assert rejected.recorded_in == 2
    assert "was not found" in rejected.reason


def test_of_passes_as_noisy_as_each_other_none_is_rejected(tmp_path):
    for seed in range(3):
        passes = [a_pass((seed, k), noise_dbfs=-60.0 + 0.5 * k) for k in range(4)]
        assert not averaged(tmp_path, passes)[0].rejected


def test_equal_passes_are_not_told_apart(tmp_path):
    found, mean = averaged(tmp_path, [noiseless(0.0)] * 3)
    assert not found.rejected
    np.testing.assert_allclose(mean, noiseless(0.0), atol=1e-7)


def test_the_one_whole_pass_is_the_average_and_gains_nothing(tmp_path):
    found, mean = averaged(tmp_path, [lost(256, 2.0, a_pass(0)), a_pass(1)])
    assert [part.recorded_in for part in found.parts] == [2]
    assert found.snr_gain_db == 0.0
    np.testing.assert_allclose(mean, a_pass(1), atol=1e-6)


def test_no_whole_pass_is_refused_with_every_reason(tmp_path):
    passes = [lost(256, 2.0, a_pass(0)), np.zeros(a_plan().frames)]
    with pytest.raises(NotAligned, match=r"pass 1: about 256 samples .*; pass 2: .* not found"):
        averaged(tmp_path, passes)


class Noisy:
    """Plays passes, each with its own noise."""

    sample_rate = RATE
    channels = 1

    def __init__(self, *, fails_in=None):
        self._seeds = itertools.count()
        self._fails_in = fails_in

    def play_record(self, stimulus, frames, on_block):
        seed = next(self._seeds)
        assert sum(map(len, stimulus)) == frames
        recorded = a_pass(seed).astype(np.float32)[:, None]
        if seed == self._fails_in:
            on_block(Block(recorded[:4096], 0))
            raise KeyboardInterrupt
        for start in range(0, frames, 4096):
            on_block(Block(recorded[start : start + 4096], start))
        return StreamReport("simulated", "noisy", RATE, frames, 1)


def test_a_take_of_several_passes_keeps_them_and_tells_what_they_gained(tmp_path):
    told = []
    folder = take(a_rig(), a_plan(), tmp_path / "c", Noisy(), passes=4, on_progress=told.append)
    folder.verify_unchanged()
    record = folder.record()
    assert record.average.snr_gain_db == pytest.approx(6.02, abs=0.5)
    assert folder.pass_numbers() == [1, 2, 3, 4]
    np.testing.assert_allclose(wav.read_mono(folder.pass_path(3))[0], a_pass(2), atol=1e-6)
    assert noise_of(wav.read_mono(folder.response_path)[0]) == pytest.approx(-66.0, abs=0.5)
    assert told[-1].seconds == pytest.approx(4 * a_plan().seconds)
    assert [p.total_seconds for p in told] == pytest.approx([4 * a_plan().seconds] * len(told))
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)


def test_an_average_that_was_stopped_goes_on_with_the_passes_that_are_whole(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        take(a_rig(), a_plan(), tmp_path / "c", Noisy(fails_in=2), passes=4)
    interface = Noisy()
    folder = take(a_rig(), a_plan(), tmp_path / "c", interface, passes=4)
    assert next(interface._seeds) == 2
    assert len(folder.record().average.parts) == 4

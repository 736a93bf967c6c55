import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels import Stream
from profiler.kernels.live import Convolver, Live
from tests.kernels.plain import network_of, noise

RATE = 48_000
SIGNAL = noise(12_000)


def a_stream(scale=1.0, name="odd"):
    _, network, weights = network_of(name)
    weights = weights.copy()
    weights[-1] *= scale
    return Stream(network, weights)


def played(live, signal, size=64, channel=0):
    """What comes out of the first output, block by block."""
    blocks = (signal[at : at + size, None] for at in range(0, len(signal), size))
    return np.concatenate([live.callback(block)[:, channel] for block in blocks])


def faded_in(expected):
    """The first voice's 20 ms."""
    return expected * np.minimum(1.0, (1 + np.arange(len(expected))) / (0.02 * RATE))


# -- impulse responses ------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(1, 700),
    st.lists(st.integers(0, 300), min_size=1, max_size=5).filter(any),
)
def test_convolves_as_the_sum_says_in_any_blocks_and_without_delay(taps, sizes):
    impulse = noise(taps, seed=taps)
    signal = SIGNAL[:2000]
    convolver, parts, start = Convolver(impulse), [], 0
    while start < len(signal):
        size = sizes[len(parts) % len(sizes)]
        parts.append(convolver.process(signal[start : start + size]))
        start += size
    expected = scipy.signal.fftconvolve(signal.astype(np.float64), impulse)[: len(signal)]
    assert np.max(np.abs(np.concatenate(parts) - expected)) < 2e-6 * np.sqrt(taps)


def test_a_long_impulse_response_is_convolved_as_exactly():
    impulse = noise(30_000) * np.exp(-np.arange(30_000) / 5000)
    signal = noise(60_000)
    expected = scipy.signal.fftconvolve(signal.astype(np.float64), impulse)[: len(signal)]
    output = Convolver(impulse).process(signal)
    assert np.max(np.abs(output - expected)) < 2e-6 * np.max(np.abs(expected))


def test_forgets_what_it_heard():
    convolver = Convolver(noise(1000))
    first = convolver.process(SIGNAL)
    convolver.forget()
    assert np.array_equal(convolver.process(SIGNAL), first)


@pytest.mark.parametrize("impulse", [[], [np.nan], np.zeros(2**20 + 1), np.zeros((2, 2))])
def test_an_impulse_response_that_cannot_be_meant_is_refused(impulse):
    with pytest.raises(ValueError, match=r"impulse response|dimensions"):
        Convolver(impulse)


# -- what is played ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 64, 100, 1024])
def test_plays_what_the_network_says_without_a_sample_of_delay(size):
    live = Live(RATE)
    live.play(a_stream())
    output = played(live, SIGNAL, size)
    assert np.max(np.abs(output - faded_in(a_stream().process(SIGNAL)))) < 1e-6
    assert not live.switching
    assert (live.frames, live.blocks) == (len(SIGNAL), -(-len(SIGNAL) // size))


def test_the_impulse_response_stands_behind_the_network():
    impulse = noise(500) / 20
    live = Live(RATE)
    live.play(a_stream(), Convolver(impulse))
    expected = scipy.signal.lfilter(impulse, 1.0, a_stream().process(SIGNAL))
    assert np.max(np.abs(played(live, SIGNAL) - faded_in(expected))) < 1e-5


def test_reads_one_channel_and_sounds_on_those_that_were_named():
    live = Live(RATE, inputs=3, input=2, outputs=4, to=(1, 4))
    live.play(a_stream())
    frames = np.stack([noise(64, seed=5), SIGNAL[:64], noise(64, seed=6)], axis=1)
    out = live.callback(frames)
    expected = faded_in(a_stream().process(SIGNAL[:64]))
    for channel in (0, 3):
        assert np.max(np.abs(out[:, channel] - expected)) < 1e-6
    assert not out[:, 1:3].any()


def test_gains_stand_before_and_behind_and_move_without_a_jump():
    live = Live(RATE)
    live.play(a_stream())
    played(live, SIGNAL[:2000])
    live.set_gains(0.5, 2.0)
    output = played(live, SIGNAL[2000:])
    stream = a_stream()
    stream.process(SIGNAL[:2000])
    expected = 2.0 * stream.process(0.5 * SIGNAL[2000:])
    assert np.max(np.abs(output[-4000:] - expected[-4000:])) < 1e-6

    live = Live(RATE)  # a constant shows the way of the gain itself
    live.play(a_stream())
    steady = np.full(9600, 0.1, np.float32)
    played(live, steady)
    before = played(live, steady)[-1]
    live.set_gains(1.0, 0.1)
    moved = played(live, steady)
    assert np.max(np.abs(np.diff(moved))) < 0.01 * abs(before)
    assert moved[-1] == pytest.approx(0.1 * before, rel=1e-5)


def test_muting_is_silence_and_comes_back_in_place():
    live = Live(RATE)
    live.play(a_stream())
    played(live, SIGNAL[:2000])
    live.set_muted(True)
    assert not played(live, SIGNAL[2000:4000])[1000:].any()
    live.set_muted(False)
    stream = a_stream()
    stream.process(SIGNAL[:4000])
    expected = stream.process(SIGNAL[4000:])
    assert np.max(np.abs(played(live, SIGNAL[4000:])[1000:] - expected[1000:])) < 1e-6


# -- switching --------------------------------------------------------------------------


def test_a_switch_ends_at_the_other_network_without_a_jump():
    live = Live(RATE)
    live.play(a_stream())
    sine = (0.2 * np.sin(2 * np.pi * 110 * np.arange(24_000) / RATE)).astype(np.float32)
    before = played(live, sine[:12_000])
    live.play(a_stream(-1.0))
    after = played(live, sine[12_000:])
    assert live.switching is False
    whole = a_stream().process(sine)
    assert np.max(np.abs(after[-6000:] + whole[-6000:])) < 1e-6  # the other is its mirror image
    steepest = np.max(np.abs(np.diff(whole[2000:])))
    jump = np.max(np.abs(np.diff(np.concatenate([before[2000:], after]))))
    assert jump < 2.2 * steepest  # the cross-fade crosses from +1 to -1 in 20 ms


def test_of_two_voices_that_come_at_once_the_last_one_sounds():
    live = Live(RATE)
    live.play(a_stream())
    played(live, SIGNAL[:2000])
    live.play(a_stream(5.0))
    live.play(a_stream(2.0))
    output = played(live, SIGNAL[2000:])
    expected = a_stream(2.0).process(SIGNAL)[2000:]
    assert np.max(np.abs(output[-4000:] - expected[-4000:])) < 1e-5


def test_the_next_switch_waits_until_the_old_voice_was_freed():
    live = Live(RATE)
    for scale in (1.0, 2.0):
        live.play(a_stream(scale))
        played(live, SIGNAL[:4000])
    live._live.play(a_stream(3.0)._stream, None)  # `play` frees as well
    played(live, SIGNAL[:4000])
    assert not live.switching


# -- safety -----------------------------------------------------------------------------


def test_the_sound_comes_up_by_20_db_a_second():
    live = Live(RATE, rise_seconds=1.0)
    live.play(a_stream())
    output = played(live, noise(RATE + 4800))
    expected = a_stream().process(noise(RATE + 4800))
    rms = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
    at_half = np.sqrt(np.mean(np.square(output[RATE // 2 - 500 : RATE // 2 + 500])))
    assert 20 * np.log10(at_half / rms) == pytest.approx(-10.0, abs=1.0)
    assert np.max(np.abs(output[-4000:] - expected[-4000:])) < 1e-6


def test_nothing_comes_out_above_the_ceiling_and_it_is_counted():
    live = Live(RATE, ceiling=0.25)
    live.play(a_stream())
    output = played(live, SIGNAL[:4800])
    unlimited = faded_in(a_stream().process(SIGNAL[:4800]))
    assert np.max(np.abs(output)) == 0.25
    assert live.clipped == np.count_nonzero(np.abs(unlimited) > 0.25)
    np.testing.assert_allclose(output, np.clip(unlimited, -0.25, 0.25), atol=1e-6)
    assert live.ending == ""


def test_half_a_second_at_the_ceiling_ends_it_as_feedback():
    live = Live(RATE, ceiling=0.01)
    live.play(a_stream(100.0))
    output = played(live, noise(RATE))
    assert (live.ending, live.silent) == ("clipped", True)
    last = np.flatnonzero(output)[-1]
    assert 0.45 < last / RATE < 0.6
    assert np.max(np.abs(np.diff(output[last - 300 :]))) < 0.021  # it faded


def test_an_offset_that_stays_ends_it():
    live = Live(RATE)
    live.play(a_stream())
    live.set_gains(1.0, 0.5 / abs(float(a_stream().process(np.zeros(10, np.float32))[-1])))
    played(live, np.zeros(3 * RATE, np.float32), 512)
    assert (live.ending, live.silent) == ("offset", True)


def test_music_is_no_offset_and_no_feedback():
    live = Live(RATE)
    live.play(a_stream())
    live.set_gains(1.0, 0.3)
    stretches = [noise(RATE, seed=seed) for seed in range(3)]
    played(live, np.concatenate(stretches) * np.float32(0.3), 512)
    assert (live.ending, live.silent) == ("", False)


def test_what_is_no_number_is_never_played():
    live = Live(RATE)
    live.play(a_stream())
    broken = SIGNAL[:640].copy()
    broken[500] = np.nan
    output = played(live, broken)
    assert (live.ending, live.silent) == ("input-not-finite", True)
    assert np.isfinite(output).all()
    assert not output[448:].any()

    live = Live(RATE)
    live.play(a_stream(1e38))
    live.set_gains(1.0, 1e38)
    assert np.isfinite(played(live, SIGNAL)).all()
    assert live.ending == "output-not-finite"


def test_fades_out_within_ten_milliseconds():
    live = Live(RATE)
    live.play(a_stream())
    played(live, SIGNAL[:4800])
    live.fade_out()
    output = played(live, SIGNAL[4800:])
    assert live.silent
    assert not output[480:].any()
    assert output[:100].any()


def test_without_a_voice_it_is_silent():
    assert not Live(RATE).callback(SIGNAL[:64, None]).any()


# -- figures ----------------------------------------------------------------------------


def test_meters_show_the_peaks_since_they_were_read():
    live = Live(RATE)
    live.play(a_stream())
    output = played(live, SIGNAL)
    peaks = live.take_peaks()
    assert peaks == (np.max(np.abs(SIGNAL)), np.max(np.abs(output)))
    assert live.take_peaks() == (0.0, 0.0)


def test_counts_what_the_driver_flags_and_the_sizes_it_uses():
    live = Live(RATE)
    for frames, flags in ((64, 0), (32, 4), (128, 16), (64, 2)):
        live.callback(np.zeros((frames, 1)), flags=flags)
    assert (live.flagged, live.block_sizes) == (2, (32, 128))  # 16 is no xrun: output is primed


def test_the_load_is_a_share_of_the_time_that_blocks_last():
    live = Live(RATE)
    live.play(a_stream(name="standard"))
    played(live, SIGNAL)
    load = live.load
    assert 0.0 < load.mean <= load.highest
    assert load.mean <= load.high + 0.005 <= load.highest + 0.005
    slow = Live(100_000_000)  # nothing is ready in so little time
    slow.play(a_stream(name="standard"))
    played(slow, SIGNAL[:640])
    assert slow.late == slow.overloaded == 10
    assert slow.load.mean > 1.0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot choose a processor here")
def test_a_block_that_another_program_held_up_is_none_of_ours():
    live = Live(RATE)
    live.play(a_stream(name="standard"))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:  # a child inherits the processor
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            for _ in range(1000):
                played(live, SIGNAL)
                if live.late > live.overloaded:
                    break
            other.kill()
    finally:
        os.sched_setaffinity(0, before)
    assert live.late > live.overloaded


def test_a_probe_is_played_once_and_what_came_in_meanwhile_is_kept():
    live = Live(RATE)
    probe = SIGNAL[:1000] / 4
    live.measure(probe)
    heard = noise(1920, seed=3)
    output = played(live, heard)
    assert np.array_equal(output[:1000], probe)
    assert not output[1000:].any()
    assert live.silent
    assert np.array_equal(live.measured(), heard[:1000])


def test_the_driver_is_given_a_c_function():
    pointer, number = ctypes.c_void_p, ctypes.c_ulong
    kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, number, pointer, number, pointer)
    live = Live(RATE)
    live.play(a_stream())
    block, out = SIGNAL[:64].copy(), np.empty(64, np.float32)
    call = kind(live.callback_address)
    assert call(block.ctypes.data, out.ctypes.data, 64, None, 0, live.address) == 0
    assert np.max(np.abs(out - faded_in(a_stream().process(SIGNAL[:64])))) < 1e-6
    assert call(None, None, 64, None, 0, live.address) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": 2},
        {"input": 0},
        {"to": ()},
        {"to": (2,)},
        {"ceiling": 0.0},
        {"ceiling": 1.5},
        {"rise_seconds": -1.0},
        {"sample_rate": 0},
    ],
)
def test_channels_and_numbers_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValueError, match=r"input|output|ceiling|rise|rate"):
        Live(**{"sample_rate": RATE} | wrong)


def test_blocks_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="channels"):
        Live(RATE).callback(np.zeros((64, 2)))

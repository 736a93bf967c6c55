"""The transport, driven by hand: every callback is made by the test."""

import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from profiler.errors import Dropout, SafetyStop
from profiler.rig.transport import (
    CLOCK_WINDOW_BLOCKS,
    FADE_SECONDS,
    LEAD_IN_SECONDS,
    RESPONSE_RING_SECONDS,
    STIMULUS_RING_SECONDS,
    Transport,
    Worker,
)

RATE = 8_000  # the rings are short then
FADE = round(FADE_SECONDS * RATE)
LEAD_IN = round(LEAD_IN_SECONDS * RATE)
STIMULUS_RING = round(STIMULUS_RING_SECONDS * RATE)


class Driver:
    """Calls back as a sound card would: what goes out of channel 1 comes into channel 3."""

    def __init__(self, transport, *, channels=4, lead_in=LEAD_IN):
        self.transport = transport
        self.channels = channels
        self.sent = []  # what left after the lead-in
        self.seconds = 0.0  # of its clock
        self.call_back(lead_in, keep=False)

    def call_back(self, size, *, input_=None, late=0.0, status=None, keep=True):
        outdata = np.full((size, self.channels), np.nan, np.float32)  # as found in memory
        indata = np.zeros((size, self.channels), np.float32) if input_ is None else input_
        times = SimpleNamespace(
            inputBufferAdcTime=self.seconds + late, outputBufferDacTime=self.seconds + late + 1.0
        )
        self.transport.callback(indata, outdata, size, times, status)
        self.seconds += size / RATE
        if keep:
            self.sent.append(outdata)
        return outdata

    def played(self):
        return np.concatenate(self.sent)[:, 1]


def wait_until(true):
    until = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < until
        time.sleep(0.001)


def wait_for_feeder(transport, size):
    """As long as real time would give it, and more."""
    due = min(transport.played + size + FADE, transport.frames)
    wait_until(lambda: transport.loaded >= due)


def wait_for_feeder_and_writer(transport, size):
    wait_for_feeder(transport, size)
    wait_until(lambda: transport.blocks - transport.handed < 20)


def noise(frames, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, frames).astype(np.float32)


def transport_for(frames, returns=(3,), ceiling_dbfs=-6.0, watch=None):
    return Transport(frames, RATE, ceiling_dbfs, send=1, returns=returns, watch=watch)


def loaded(stimulus, **settings):
    """A transport whose ring holds the whole stimulus, and its driver after the lead-in."""
    transport = transport_for(len(stimulus), **settings)
    transport.feed([stimulus])
    assert transport.failure is None
    return transport, Driver(transport)


def written(transport):
    blocks = []
    transport.close()
    transport.write(blocks.append)
    return blocks


def echo(stimulus, transport, size):
    """Input of a loop without latency: what is about to be played, on channel 3."""
    indata = np.zeros((size, 4), np.float32)
    ahead = stimulus[transport.played : transport.played + size]
    indata[: len(ahead), 3] = ahead
    return indata


@pytest.mark.parametrize("seed", range(5))
def test_plays_and_records_every_sample_whatever_the_block_sizes(seed):
    stimulus = noise(3 * STIMULUS_RING + 17, seed)  # so that both rings wrap
    random = np.random.default_rng(seed)
    transport = transport_for(len(stimulus))
    blocks = []
    feeder = Worker("feeder", transport.feed, np.array_split(stimulus, 23))
    writer = Worker("writer", transport.write, blocks.append)
    wait_until(lambda: transport.ready)
    driver = Driver(transport)
    while not transport.silent:
        size = int(random.integers(1, 700))
        wait_for_feeder_and_writer(transport, size)
        driver.call_back(size, input_=echo(stimulus, transport, size))
    transport.close()
    assert feeder.finish(lambda: 0, 5.0)
    assert writer.finish(lambda: transport.handed, 5.0)

    assert transport.failure is None
    assert transport.complete
    assert np.array_equal(driver.played()[: len(stimulus)], stimulus)
    assert not driver.played()[len(stimulus) :].any()
    response = np.concatenate([block.samples for block in blocks])
    assert np.array_equal(response[:, 0], stimulus)
    assert [block.frame for block in blocks] == [
        0,
        *np.cumsum([len(block.samples) for block in blocks])[:-1],
    ]


def test_keeps_every_other_channel_silent():
    stimulus = noise(1000)
    _, driver = loaded(stimulus)
    out = driver.call_back(512)
    assert not np.delete(out, 1, axis=1).any()
    assert np.array_equal(out[:, 1], stimulus[:512])


def test_records_the_channels_asked_for_in_their_order():
    transport, driver = loaded(noise(600), returns=(2, 0))
    indata = np.arange(2400, dtype=np.float32).reshape(600, 4)
    driver.call_back(600, input_=indata)
    (block,) = written(transport)
    assert np.array_equal(block.samples, indata[:, [2, 0]])


def test_is_silent_while_the_driver_starts_and_after_the_end():
    transport = transport_for(1000)
    transport.feed([noise(1000)])
    driver = Driver(transport, lead_in=0)
    for _ in range(8):  # 100 ms
        assert not driver.call_back(LEAD_IN // 8).any()
    assert transport.played == 0
    assert driver.call_back(1024).any()
    assert transport.complete
    assert not driver.call_back(1024).any()
    assert len(written(transport)) == 1


def test_logs_flags_and_clock_of_each_block():
    transport, driver = loaded(noise(2000))
    status = SimpleNamespace(
        input_underflow=False, input_overflow=True, output_underflow=True, output_overflow=False
    )
    driver.call_back(256)
    driver.call_back(256, status=status)
    first, second = written(transport)
    assert (first.flags, second.flags) == ("", "input overflow, output underflow")
    assert second.adc_seconds - first.adc_seconds == pytest.approx(256 / RATE)
    assert second.dac_seconds == second.adc_seconds + 1.0
    assert transport.observations().flagged == ((256, "input overflow, output underflow"),)


# -- safety -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_refuses_what_is_not_finite_before_any_of_its_block_is_played(bad):
    stimulus = noise(2000).astype(np.float64)
    stimulus[1234] = bad
    transport = transport_for(2000)
    transport.feed(np.array_split(stimulus, 4))
    assert transport.loaded == 1000
    with pytest.raises(SafetyStop, match=r"not finite \(NaN or infinite\) at 0\.15 s"):
        raise transport.failure


def test_refuses_what_is_over_the_ceiling_and_says_by_how_much():
    stimulus = noise(2000)
    stimulus[1600] = -0.7
    transport = transport_for(2000)
    transport.feed([stimulus])
    assert transport.loaded == 0
    with pytest.raises(SafetyStop, match=r"reaches -3\.10 dBFS at 0\.20 s.*ceiling of -6 dBFS"):
        raise transport.failure


@pytest.mark.parametrize("ceiling_dbfs", [-6.0, -1.0, 0.0, -37.3])
def test_accepts_a_peak_exactly_at_the_ceiling(ceiling_dbfs):
    stimulus = np.full(100, 10 ** (ceiling_dbfs / 20), np.float32)
    transport, _ = loaded(stimulus, ceiling_dbfs=ceiling_dbfs)
    assert transport.loaded == 100


def test_a_bad_block_in_the_middle_fades_out_and_is_never_played():
    good, bad = noise(STIMULUS_RING + 400), np.full(1000, np.nan, np.float32)
    transport = transport_for(len(good) + len(bad))
    feeder = Worker("feeder", transport.feed, [good, bad])
    wait_until(lambda: transport.ready)
    driver = Driver(transport)
    for _ in range(3):
        driver.call_back(256)
    wait_until(lambda: transport.failure is not None)
    while not transport.silent:
        driver.call_back(256)
    assert feeder.finish(lambda: 0, 5.0)
    assert isinstance(transport.failure, SafetyStop)
    played = driver.played()
    assert np.array_equal(played[:768], good[:768])
    assert_faded(played, good, begins=768)


def assert_faded(played, stimulus, begins):
    """From `begins` on 10 ms of the stimulus under a falling ramp, then nothing."""
    ramp = 0.5 * (1 + np.cos(np.pi * np.arange(1, FADE + 1) / FADE))
    faded = played[begins : begins + FADE]
    np.testing.assert_allclose(faded, stimulus[begins : begins + FADE] * ramp, atol=1e-6)
    assert not played[begins + FADE :].any()


@pytest.mark.parametrize("size", [16, 50, 256])
def test_stopping_fades_the_stimulus_out_over_ten_milliseconds(size):
    stimulus = noise(4000)
    transport, driver = loaded(stimulus)
    for _ in range(3):
        driver.call_back(size)
    transport.stop()
    while not transport.silent:
        driver.call_back(size)
    driver.call_back(size)
    assert_faded(driver.played(), stimulus, begins=3 * size)
    assert sum(len(block.samples) for block in written(transport)) == 3 * size + FADE


def test_stopping_before_the_first_sample_makes_no_sound():
    transport = transport_for(1000)
    transport.feed([noise(1000)])
    transport.stop()
    driver = Driver(transport)
    assert transport.silent
    assert not driver.call_back(256).any()
    assert transport.played == 0


def test_a_late_feeder_fades_out_what_is_there_and_names_the_place():
    stimulus = noise(STIMULUS_RING + 5000)
    transport = transport_for(len(stimulus))

    def stuck():
        yield stimulus[:STIMULUS_RING]
        wait_until(lambda: transport.silent)
        yield stimulus[STIMULUS_RING:]

    feeder = Worker("feeder", transport.feed, stuck())
    wait_until(lambda: transport.ready)
    driver = Driver(transport)
    while not transport.silent:
        driver.call_back(320)
    assert feeder.finish(lambda: 0, 5.0)
    begins = (STIMULUS_RING - FADE) // 320 * 320
    assert_faded(driver.played(), stimulus, begins)
    with pytest.raises(Dropout, match=r"stimulus was not there in time at 3\.96 s"):
        raise transport.failure


def test_never_plays_more_than_there_is():
    transport = transport_for(1000)

    def slow():
        yield noise(10)
        wait_until(lambda: transport.silent)
        yield noise(990)

    feeder = Worker("feeder", transport.feed, slow())
    wait_until(lambda: transport.loaded == 10)
    driver = Driver(transport)
    while not transport.silent:
        driver.call_back(256)
    assert feeder.finish(lambda: 0, 5.0)
    assert transport.played == 10
    assert isinstance(transport.failure, Dropout)


@pytest.mark.parametrize(
    ("size", "least_seconds"),
    [(256, 9.9), (4, 2.4)],  # the response ring is full, or the log of its blocks
)
def test_a_late_writer_ends_the_take_before_anything_is_overwritten(size, least_seconds):
    stimulus = noise(round((RESPONSE_RING_SECONDS + 2.0) * RATE))
    transport = transport_for(len(stimulus))
    feeder = Worker("feeder", transport.feed, [stimulus])
    wait_until(lambda: transport.ready)
    driver = Driver(transport)
    while not transport.silent:
        wait_for_feeder(transport, size)
        driver.call_back(size, input_=echo(stimulus, transport, size))
    assert feeder.finish(lambda: 0, 5.0)
    with pytest.raises(Dropout, match=r"could not be written in time at"):
        raise transport.failure
    response = np.concatenate([block.samples for block in written(transport)])[:, 0]
    assert np.array_equal(response, stimulus[: len(response)])
    assert least_seconds * RATE < len(response) < RESPONSE_RING_SECONDS * RATE


def test_a_writer_that_fails_ends_the_take_with_its_own_error():
    transport, driver = loaded(noise(4000))
    driver.call_back(256)

    def no_space(block):
        raise OSError(28, "No space left on device")

    transport.write(no_space)
    while not transport.silent:
        driver.call_back(256)
    assert transport.played == 256 + FADE
    with pytest.raises(OSError, match="No space left"):
        raise transport.failure


def test_a_callback_that_fails_is_silent_and_tells_why():
    transport, driver = loaded(noise(4000))
    out = driver.call_back(256, input_=np.zeros((256, 2), np.float32))  # no channel 3
    assert not out.any()
    assert transport.silent
    assert isinstance(transport.failure, IndexError)


@pytest.mark.parametrize("size", [16, 50, 256])
def test_when_the_watch_objects_the_fade_begins_with_the_first_sample_of_that_callback(size):
    stimulus = noise(4000)
    objection = SafetyStop("too loud")

    def watch(block, frame):
        return objection if frame == 3 * size else None

    transport, driver = loaded(stimulus, watch=watch)
    while not transport.silent:
        driver.call_back(size, input_=echo(stimulus, transport, size))
    driver.call_back(size)
    assert transport.failure is objection
    assert_faded(driver.played(), stimulus, begins=3 * size)
    response = np.concatenate([block.samples for block in written(transport)])[:, 0]
    assert np.array_equal(response, stimulus[: 3 * size + FADE])  # what it saw is kept


def test_the_watch_sees_the_recorded_channels_of_every_block_until_the_end():
    seen = []

    def watch(block, frame):
        seen.append((frame, block.copy()))

    _, driver = loaded(noise(600), returns=(2, 0), watch=watch)
    indata = np.arange(1024, dtype=np.float32).reshape(256, 4)
    for _ in range(4):
        driver.call_back(256, input_=indata)
    assert [frame for frame, _ in seen] == [0, 256, 512]
    assert np.array_equal(seen[0][1], indata[:, [2, 0]])
    assert np.array_equal(seen[2][1], indata[: 600 - 512, [2, 0]])  # no more than is recorded


def test_a_watch_that_fails_fades_out_and_its_error_is_told():
    stimulus = noise(4000)

    def watch(block, frame):
        if frame > 0:
            raise ZeroDivisionError

    transport, driver = loaded(stimulus, watch=watch)
    while not transport.silent:
        driver.call_back(256)
    assert isinstance(transport.failure, ZeroDivisionError)
    assert_faded(driver.played(), stimulus, begins=256)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros(60)], "ended after 60 of 100 frames"),
        ([np.zeros((100, 2))], r"got a block of shape \(100, 2\)"),
    ],
)
def test_a_stimulus_that_is_not_what_was_announced_is_a_wrong_call(blocks, message):
    transport = transport_for(100)
    transport.feed(blocks)
    with pytest.raises(ValueError, match=message):
        raise transport.failure


def test_a_take_without_frames_is_a_wrong_call():
    with pytest.raises(ValueError, match="frames=0"):
        transport_for(0)


# -- what is noticed --------------------------------------------------------------------


def observed(sizes_and_delays):
    stimulus = noise(30_000)
    transport, driver = loaded(stimulus)
    for size, late in sizes_and_delays:
        driver.call_back(size, input_=echo(stimulus, transport, size), late=late)
    written(transport)
    return transport.observations()


def test_notes_a_change_of_the_callbacks_size():
    seen = observed([(256, 0.0)] * 10 + [(512, 0.0)] * 5)
    assert seen.block_sizes == (256, 512)
    assert seen.notes == ("about 0.32 s: callbacks changed from 256 to 512 frames",)


def test_the_last_block_being_cut_is_no_change():
    stimulus = noise(1000)
    transport, driver = loaded(stimulus)
    for _ in range(4):
        driver.call_back(256, input_=echo(stimulus, transport, 256))
    written(transport)
    assert transport.complete
    assert transport.observations().notes == ()
    assert transport.observations().block_sizes == (256,)


def test_notes_a_jump_of_the_drivers_clock():
    steps = [(64, 0.0)] * (2 * CLOCK_WINDOW_BLOCKS) + [(64, 64 / RATE)] * (3 * CLOCK_WINDOW_BLOCKS)
    (note,) = observed(steps).notes
    assert "clock jumped by 64 samples" in note


def test_callbacks_that_come_late_now_and_then_are_no_jump():
    random = np.random.default_rng(3)
    late = random.exponential(64 / RATE, 4 * CLOCK_WINDOW_BLOCKS)
    late[:: CLOCK_WINDOW_BLOCKS // 4] = 0.0  # some are in time in every window
    assert observed([(64, delay) for delay in late]).notes == ()


def returned(played, heard, size=64):
    """The notes of a take that hears `heard` while `played` plays."""
    transport, driver = loaded(played)
    while not transport.silent:
        driver.call_back(size, input_=echo(heard, transport, size))
    written(transport)
    return transport.observations().notes


def test_notes_exact_zeros_in_the_return_while_sound_is_due():
    played = noise(8000)
    heard = played.copy()
    heard[4032:4288] = 0.0
    (note,) = returned(played, heard)
    assert note == "about 0.50 s: the return was exactly zero for 256 frames while sound was due"


def test_notes_a_return_that_stays_dead_to_the_end():
    played = noise(8000)
    (note,) = returned(played, np.where(np.arange(8000) < 4032, played, 0.0))
    assert "exactly zero for 3968 frames" in note


def test_notes_a_block_of_the_return_that_comes_twice():
    played = noise(8000)
    heard = played.copy()
    heard[4032:4096] = heard[3968:4032]
    (note,) = returned(played, heard)
    assert note == "about 0.50 s: the return repeated the 64 frames before"


def test_a_pause_of_the_stimulus_that_comes_back_late_is_no_dead_return():
    played = noise(16_000)
    played[6000:8000] = 0.0
    assert returned(played, np.concatenate((np.zeros(1900, np.float32), played))) == ()


def test_memory_does_not_grow_with_the_length_of_the_take():
    minutes = 5
    frames = minutes * 60 * RATE
    transport = transport_for(frames)
    block = noise(1000)
    feeder = Worker("feeder", transport.feed, (block for _ in range(frames // 1000)))
    writer = Worker("writer", transport.write, lambda block: None)
    wait_until(lambda: transport.ready)
    driver = Driver(transport)
    tracemalloc.start()
    try:
        while not transport.silent:
            wait_for_feeder_and_writer(transport, 1024)
            driver.call_back(1024, keep=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    transport.close()
    assert feeder.finish(lambda: 0, 5.0)
    assert writer.finish(lambda: transport.handed, 5.0)
    assert transport.complete
    assert peak < 0.5e6  # the response alone would be 9.6 MB

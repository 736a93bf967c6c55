import contextlib
import datetime

import numpy as np
import pytest

from profiler.capture.calibration import store, stored_delay
from profiler.capture.calibration.latency import LatencyCalibration, measure_latency
from profiler.errors import CaptureError, NotAligned, Silent
from profiler.rig.connect import connect
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import Noise, SignalDefinition, load_signal
from tests.rig.jack_server import JackServer
from tests.rig.real_take import rig_for


class Driver:
    """A cable whose latency, polarity and blocks are others at every opening."""

    sample_rate = 48_000
    channels = 1

    def __init__(self, *, latencies=(500,), polarities=(1,), blocks=(256,)):
        self._takes = 0
        self._latencies, self._polarities, self._blocks = latencies, polarities, blocks

    def play_record(self, stimulus, frames, on_block, watch=None):
        latency, polarity, size = (
            values[self._takes % len(values)]
            for values in (self._latencies, self._polarities, self._blocks)
        )
        self._takes += 1
        samples = np.concatenate([np.zeros(latency), *stimulus])[:frames]
        noise = 1e-5 * np.random.default_rng(self._takes).standard_normal(frames)
        on_block(Block((polarity * samples + noise).astype(np.float32)[:, None], 0))
        sizes = tuple(sorted({size, frames % size or size}))
        return StreamReport("simulated", "cable", 48_000, frames, -(-frames // size), sizes)


def measured(interface, rig_name="wire", **settings):
    plan = load_signal("latency").plan(48_000)
    return measure_latency(load_rig(rig_name), plan, interface, **settings)


@pytest.mark.parametrize("round_trip", [61.25, 1234.567, 9876.5])
@pytest.mark.parametrize("polarity", [1, -1])
def test_finds_round_trip_and_polarity_of_a_loop(round_trip, polarity):
    rig = load_rig("wire")
    changes = {"round_trip_samples": round_trip, "polarity": polarity, "noise_rms_dbfs": -80.0}
    rig = rig.model_copy(update={"interface": rig.interface.model_copy(update=changes)})
    plan = load_signal("latency").plan(48_000)
    found = measure_latency(rig, plan, connect(rig))
    assert found.round_trip_samples == pytest.approx(round_trip, abs=1e-3)
    assert found.spread_samples < 1e-3
    assert found.polarity == polarity
    assert abs(found.drift_ppm) < 0.02


def test_notes_the_block_sizes_that_the_driver_used():
    assert max(measured(Driver(blocks=(512,))).block_sizes) == 512


def test_tells_each_repeat():
    told = []
    measured(Driver(), repeats=4, on_repeat=lambda *repeat: told.append(repeat))
    assert [index for index, _ in told] == [0, 1, 2, 3]
    np.testing.assert_allclose([delay for _, delay in told], 500.0, atol=1e-3)


def test_refuses_a_latency_that_is_another_at_every_opening():
    with pytest.raises(CaptureError, match=r"changed by 64\.0\d\d samples over 3 repeats"):
        measured(Driver(latencies=(500, 564, 500)))


def test_refuses_blocks_that_are_others_at_every_opening():
    with pytest.raises(CaptureError, match="blocks of 256 and 512 frames"):
        measured(Driver(blocks=(256, 512, 256)))


def test_refuses_a_polarity_that_changes_between_repeats():
    with pytest.raises(CaptureError, match="polarity of the loop changed"):
        measured(Driver(polarities=(1, -1, 1)))


def test_refuses_a_cable_that_is_out():
    with pytest.raises((Silent, NotAligned)):
        measured(Driver(polarities=(0,)))


def kept(block_size, block_sizes):
    return LatencyCalibration(
        conditions={"block_size": block_size},
        round_trip_samples=500.0,
        spread_samples=0.0,
        repeats=3,
        polarity=1,
        block_sizes=block_sizes,
        created_utc=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )


@pytest.mark.parametrize(
    ("asked_for", "then", "now", "holds"),
    [
        (0, (128, 256), (37, 256), True),  # the last block of a stream is what was left
        (0, (256,), (512,), False),
        (0, (), (512,), True),  # kept by a version that did not note it
        (256, (200, 256), (256,), True),
    ],
)
def test_where_the_driver_chooses_the_block_it_must_choose_the_same(asked_for, then, now, holds):
    stream = StreamReport("portaudio", "card", 48_000, 1000, 4, now)
    assert kept(asked_for, then).holds_for(stream) == holds


@contextlib.contextmanager
def jack(folder, period):
    """A real driver with a cable, whose latency is its period."""
    server = JackServer(folder, period=period)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            yield
    finally:
        server.close()


def test_a_driver_that_chooses_other_blocks_has_another_latency_and_the_old_does_not_hold(tmp_path):
    rig = rig_for("loopback", block_size=0)
    noise = Noise(name="noise", kind="noise", use="analyse", level_dbfs=-12.0, seconds=0.7)
    plan = SignalDefinition(name="short", segments=(noise,)).plan(48_000)
    with jack(tmp_path, 256):
        calibration = measure_latency(rig, plan, connect(rig), repeats=2)
    assert calibration.round_trip_samples == pytest.approx(256.0, abs=1e-3)
    assert calibration.conditions["block_size"] == 0
    assert calibration.block_sizes == (256,)
    store(rig, calibration)
    with jack(tmp_path, 512):
        silence = np.zeros(4800, np.float32)
        stream = connect(rig).play_record([silence], len(silence), lambda block: None)
    assert stored_delay(rig) == calibration.round_trip_samples
    assert stored_delay(rig, stream) is None

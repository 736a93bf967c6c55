import functools
import itertools
import shutil

import numpy as np
import pytest

from profiler import wav
from profiler.capture.folder import CaptureFolder
from profiler.capture.take import take
from profiler.errors import (
    CaptureError,
    Clipping,
    Dropout,
    InterfaceError,
    ProfilerError,
    SafetyStop,
)
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import Marker, Noise, SignalDefinition, Silence, Sine
from profiler.stimulus.synthesis import render

RATE = 48_000
LATENCY = 100


class Wire:
    """A wire of whole samples' latency that can break off after some blocks."""

    sample_rate = RATE
    channels = 2

    def __init__(self, *, fails=None, after_frames=None, loses=0):
        self._fails, self._after, self._loses = fails, after_frames, loses

    def play_record(self, stimulus, frames, on_block):
        line = np.zeros(LATENCY, np.float32)
        done = blocks = 0
        for played in stimulus:
            line = np.concatenate([line, played])
            recorded, line = line[: len(played)], line[len(played) :]
            if self._fails is not None and done + len(recorded) > self._after:
                on_block(Block(np.stack([recorded] * 2, axis=1)[: self._after - done], done))
                raise self._fails
            if self._loses:
                recorded = recorded[: len(recorded) - self._loses]
            on_block(Block(np.stack([recorded] * 2, axis=1), done, "output underflow"))
            done += len(recorded)
            blocks += 1
        return StreamReport("simulated", "wire", RATE, done, blocks)


WHOLE_TAKE = {"blocks.csv", "capture.json", "response.wav", "stimulus.wav"}


def names_in(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def rig():
    interface = SimulatedInterface(driver="simulated", loopback_channel=2)
    return Rig(name="w", maximum_send_dbfs=-3.0, interface=interface, chain=Chain(circuit="wire"))


@pytest.fixture
def plan():
    tone = Sine(name="tone", kind="sine", use="analyse", seconds=2.0, level_dbfs=-6.0)
    return SignalDefinition(name="tone", segments=(tone,)).plan(RATE)


def test_keeps_what_was_played_and_every_channel_of_what_came_back(rig, plan, tmp_path):
    folder = take(rig, plan, tmp_path / "c", Wire())
    played, _ = wav.read_mono(folder.stimulus_path)
    recorded, rate = wav.read(folder.response_path)
    assert rate == RATE
    assert recorded.shape == (plan.bracketed().frames, 2)
    np.testing.assert_array_equal(recorded[LATENCY:, 0], played[:-LATENCY])
    np.testing.assert_array_equal(recorded[:, 0], recorded[:, 1])


def test_keeps_the_circumstances_and_the_hashes_of_the_audio(rig, plan, tmp_path):
    folder = take(rig, plan, tmp_path / "c", Wire())
    record = CaptureFolder.existing(folder.path).record()
    assert record.rig == rig
    assert record.plan == plan.bracketed()
    assert record.stream.device == "wire"
    folder.verify_unchanged()
    assert "output underflow" in folder.blocks_path.read_text()


def test_notices_audio_that_was_edited_afterwards(rig, plan, tmp_path):
    folder = take(rig, plan, tmp_path / "c", Wire())
    samples, _ = wav.read(folder.response_path)
    samples[1000] += 1e-6
    wav.write(folder.response_path, samples, RATE)
    with pytest.raises(CaptureError, match="has changed since it was recorded"):
        folder.verify_unchanged()


@pytest.mark.parametrize("fault", [InterfaceError("the device vanished"), KeyboardInterrupt()])
def test_keeps_the_recorded_part_of_a_take_that_breaks_off_and_names_it(fault, rig, plan, tmp_path):
    with pytest.raises(type(fault)) as caught:
        take(rig, plan, tmp_path / "c", Wire(fails=fault, after_frames=24_000))
    folder = CaptureFolder(tmp_path / "c")
    told = str(caught.value) + " ".join(getattr(caught.value, "__notes__", ()))
    assert f"the 0.5 s recorded are kept in {folder.partial_response_path}" in told
    recorded, _ = wav.read(folder.partial_response_path)
    assert len(recorded) == 24_000
    with pytest.raises(CaptureError, match="did not reach its end"):
        CaptureFolder.existing(folder.path)


def test_the_same_take_again_replaces_one_that_broke_off(rig, plan, tmp_path):
    with pytest.raises(InterfaceError, match="the same command goes on from there"):
        take(rig, plan, tmp_path / "c", Wire(fails=InterfaceError("x"), after_frames=24_000))
    folder = take(rig, plan, tmp_path / "c", Wire())
    folder.verify_unchanged()
    assert names_in(folder.path) == WHOLE_TAKE
    assert not folder.record().joins  # no marker was whole: all of it is from the second pass


def test_leaves_no_folder_when_nothing_was_recorded(rig, plan, tmp_path):
    with pytest.raises(InterfaceError, match="nothing was recorded"):
        take(rig, plan, tmp_path / "c", Wire(fails=InterfaceError("x"), after_frames=0))
    assert not (tmp_path / "c").exists()


def test_refuses_a_take_that_came_back_shorter_than_it_was_played(rig, plan, tmp_path):
    with pytest.raises(Dropout, match="frames came back of"):
        take(rig, plan, tmp_path / "c", Wire(loses=1))


def test_refuses_a_folder_that_holds_something_and_touches_nothing(rig, plan, tmp_path):
    take(rig, plan, tmp_path / "c", Wire())
    before = (tmp_path / "c" / "capture.json").read_bytes()
    with pytest.raises(CaptureError, match=r"already holds .*-o.*-y"):
        take(rig, plan, tmp_path / "c", Wire())
    assert (tmp_path / "c" / "capture.json").read_bytes() == before


def test_refuses_a_file_in_place_of_a_folder(rig, plan, tmp_path):
    (tmp_path / "c").write_text("a letter")
    with pytest.raises(CaptureError, match="is a file"):
        take(rig, plan, tmp_path / "c", Wire())


def test_a_replaced_take_does_not_keep_results_of_the_one_before(rig, plan, tmp_path):
    folder = take(rig, plan, tmp_path / "c", Wire())
    folder.alignment_path.write_text("{}")
    folder.analysis_path.write_text("{}")
    take(rig, plan, tmp_path / "c", Wire(), replace=True)
    assert not folder.alignment_path.exists()
    assert not folder.analysis_path.exists()


def test_an_earlier_capture_outlives_a_replacement_that_breaks_off(rig, plan, tmp_path):
    folder = take(rig, plan, tmp_path / "c", Wire())
    fails = Wire(fails=InterfaceError("x"), after_frames=24_000)
    with pytest.raises(InterfaceError):
        take(rig, plan, tmp_path / "c", fails, replace=True)
    CaptureFolder.existing(folder.path).verify_unchanged()


def test_refuses_a_stimulus_above_the_ceiling_before_anything_is_written(rig, plan, tmp_path):
    loud = plan.model_copy(update={"gain_db": 3.5})
    with pytest.raises(SafetyStop, match=r"peaks at -2.5 dBFS, above .* ceiling of -3 dBFS"):
        take(rig, loud, tmp_path / "c", Wire())
    assert not (tmp_path / "c").exists()


def test_plays_a_stimulus_exactly_at_the_ceiling(rig, plan, tmp_path):
    loud = plan.model_copy(update={"gain_db": 3.0})
    take(rig, loud, tmp_path / "c", Wire())


def test_refuses_a_disk_that_is_too_full_before_it_plays(rig, plan, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("profiler.capture.take.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ProfilerError, match="needs 3 MB and the disk has 1 MB free"):
        take(rig, plan, tmp_path / "c", Wire())
    assert not (tmp_path / "c").exists()


def test_tells_how_far_it_is_and_what_comes_back(rig, plan, tmp_path):
    told = []
    take(rig, plan, tmp_path / "c", Wire(), on_progress=told.append)
    assert told[-1].seconds == pytest.approx(plan.bracketed().seconds)
    assert told[-1].return_highest_dbfs == pytest.approx(-6.0, abs=0.01)
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)


# A take that broke off goes on: markers begin at 0.5, 1.0, 3.5, 6.0, 8.5 and 11.0 s.


@functools.cache
def long_plan():
    passages = (
        (
            Marker(name=f"marker {n}", kind="marker", use="align", level_dbfs=-12.0),
            Noise(name=f"noise {n}", kind="noise", use="train", level_dbfs=-6.0, seed=n, seconds=2),
        )
        for n in range(4)
    )
    pre_roll, post_roll = (
        Silence(name=name, kind="silence", use="align", seconds=seconds)
        for name, seconds in (("pre-roll", 0.5), ("post-roll", 1.0))
    )
    head, tail = (
        Marker(name=name, kind="marker", use="align", level_dbfs=-12.0) for name in ("head", "tail")
    )
    segments = (pre_roll, head, *itertools.chain(*passages), tail, post_roll)
    return SignalDefinition(name="long", segments=segments).plan(RATE)


def simulated(latency=1234.0, noise_rms_dbfs=-100.0, gain_db=0.0, circuit="wire"):
    interface = SimulatedInterface(
        driver="simulated",
        round_trip_samples=latency,
        noise_rms_dbfs=noise_rms_dbfs,
        gain_db=gain_db,
        loopback_channel=2,
    )
    rig = Rig(name="w", maximum_send_dbfs=-3.0, interface=interface, chain=Chain(circuit=circuit))
    return rig, Simulated(rig)


RIG, _ = simulated()


@functools.cache
def whole_response(circuit="wire"):
    """What comes back, noise aside."""
    plan = long_plan().bracketed()
    blocks = []
    simulated(noise_rms_dbfs=-200.0, circuit=circuit)[1].play_record(
        [render(plan)], plan.frames, lambda block: blocks.append(block.samples)
    )
    return np.concatenate(blocks)


class BreaksOff:
    """An interface that fails once `seconds` are recorded."""

    sample_rate = RATE
    channels = 2

    def __init__(self, seconds, interface, error=None):
        self._frames, self._interface = round(seconds * RATE), interface
        self._error = error or InterfaceError("the device vanished")
        self.frames = 0

    def play_record(self, stimulus, frames, on_block):
        def until(block):
            if block.frame >= self._frames:
                raise self._error
            self.frames = block.frame + len(block.samples)
            on_block(block)

        return self._interface.play_record(stimulus, frames, until)


def break_off(path, *seconds, circuit="wire", **settings):
    for at in seconds:
        breaking = BreaksOff(at, simulated(circuit=circuit, **settings)[1])
        with pytest.raises(InterfaceError, match="vanished"):
            take(simulated(circuit=circuit)[0], long_plan(), path, breaking)


@pytest.mark.parametrize("latency", [1234.0, 1300.0, 1230.63])
@pytest.mark.parametrize("channel", [0, 1])
def test_a_take_that_broke_off_goes_on_from_its_last_whole_marker(latency, channel, tmp_path):
    break_off(tmp_path / "c", 7.0)
    interface = BreaksOff(100.0, simulated(latency)[1])
    folder = take(RIG, long_plan(), tmp_path / "c", interface)
    folder.verify_unchanged()
    first, second = folder.record().joins
    assert first.stop / RATE == pytest.approx(6.0 + 0.475 + 1234 / RATE, abs=1e-3)
    assert second.shift_samples % 1 == pytest.approx(latency % 1, abs=1e-4)
    # what was played again: two seconds ahead of the marker, and all from there on
    assert interface.frames == round((0.25 + 2.0 + 12.5 - 6.0) * RATE)
    error = wav.read(folder.response_path)[0][:, channel] - whole_response()[:, channel]
    error = error[: round(12.4 * RATE)]  # where the latency rose, the end is before its end
    noise_dbfs = 10 * np.log10(np.mean(error.reshape(-1, 480) ** 2, axis=1))
    assert np.max(noise_dbfs) < -97.0  # of -100: nothing stands out, not at the seam either
    assert names_in(folder.path) == WHOLE_TAKE - {"blocks.csv"} | {"passes"}


def test_a_take_goes_on_through_an_amp_that_remembers(tmp_path):
    break_off(tmp_path / "c", 7.2, circuit="tweed")
    rig, interface = simulated(circuit="tweed")
    folder = take(rig, long_plan(), tmp_path / "c", interface)
    response = wav.read(folder.response_path)[0][:, 0]
    error = response - whole_response("tweed")[:, 0]
    assert np.sum(error**2) / np.sum(response**2) < 1e-6


def test_a_take_that_broke_off_again_and_again_is_whole_in_the_end(tmp_path):
    # the third comes no further than the second, the fourth does
    break_off(tmp_path / "c", 4.3, 6.0, 2.0, 6.5)
    folder = take(RIG, long_plan(), tmp_path / "c", simulated()[1])
    numbers = [part.recorded_in for part in folder.record().joins]
    assert numbers == [1, 2, 4, 5]
    assert folder.pass_numbers() == numbers
    error = wav.read(folder.response_path)[0] - whole_response()
    assert 10 * np.log10(np.mean(error**2)) == pytest.approx(-100.0, abs=0.2)


def test_a_device_that_was_turned_up_in_between_is_taken_from_the_beginning(tmp_path):
    break_off(tmp_path / "c", 7.0)
    folder = take(RIG, long_plan(), tmp_path / "c", simulated(gain_db=1.0)[1])
    assert not folder.record().joins
    error = wav.read(folder.response_path)[0][:, 0] - 10 ** (1 / 20) * whole_response()[:, 0]
    assert 10 * np.log10(np.mean(error**2)) == pytest.approx(-100.0, abs=0.5)


@pytest.mark.parametrize("error", [SafetyStop("it howls"), Clipping("the return clips")])
def test_nothing_goes_on_from_what_was_stopped_for_its_sound(error, tmp_path):
    with pytest.raises(type(error)):
        take(RIG, long_plan(), tmp_path / "c", BreaksOff(7.0, simulated()[1], error))
    assert CaptureFolder(tmp_path / "c").partial_response_path.is_file()
    folder = take(RIG, long_plan(), tmp_path / "c", simulated()[1])
    assert not folder.record().joins


def test_what_another_take_has_left_is_set_aside(tmp_path):
    break_off(tmp_path / "c", 4.3, 6.0)
    louder = RIG.model_copy(update={"maximum_send_dbfs": -2.0})
    folder = take(louder, long_plan(), tmp_path / "c", simulated()[1])
    assert not folder.record().joins
    assert names_in(folder.path / "set-aside-1") == {
        "0001.csv",
        "0001.wav",
        "blocks.partial.csv",
        "response.partial.wav",
        "stimulus.partial.wav",
        "take.json",
    }
    assert len(wav.read(folder.path / "set-aside-1" / "0001.wav")[0]) / RATE == pytest.approx(
        4.3, abs=0.01
    )


def test_a_capture_that_is_there_outlives_what_replaces_it_until_that_is_whole(tmp_path):
    first = take(RIG, long_plan(), tmp_path / "c", simulated()[1]).record()
    breaking = BreaksOff(7.0, simulated()[1])
    with pytest.raises(InterfaceError):
        take(RIG, long_plan(), tmp_path / "c", breaking, replace=True)
    folder = CaptureFolder.existing(tmp_path / "c")
    folder.verify_unchanged()
    assert folder.record() == first
    take(RIG, long_plan(), tmp_path / "c", simulated()[1], replace=True)
    folder.verify_unchanged()
    assert len(folder.record().joins) == 2


class Watchman:
    """Watches a pass, and remembers what it was told and has seen."""

    def __init__(self, plan, *, frames, begins):
        self.plan, self.frames, self.begins = plan, frames, begins
        self.sent = self.heard = 0

    def follow(self, stimulus):
        for block in stimulus:
            self.sent += len(block)
            yield block

    def __call__(self, block, frame):
        assert frame == self.heard
        self.heard += len(block)


class Watched(BreaksOff):
    def play_record(self, stimulus, frames, on_block, watch):
        def watched(block):
            if (objection := watch(block.samples, block.frame)) is not None:
                raise objection
            on_block(block)

        return super().play_record(stimulus, frames, watched)


def test_every_pass_has_a_watch_of_its_own_that_knows_where_it_is(tmp_path):
    watches = []

    def watch(plan, **where):
        watches.append(Watchman(plan, **where))
        return watches[-1]

    with pytest.raises(InterfaceError):
        take(RIG, long_plan(), tmp_path / "c", Watched(7.0, simulated()[1]), watch=watch)
    take(RIG, long_plan(), tmp_path / "c", Watched(100, simulated()[1]), watch=watch)
    first, second = watches
    plan = long_plan().bracketed()
    assert first.plan == second.plan == plan
    assert (first.frames, first.begins) == (plan.frames, 0)
    assert second.begins == round((6.0 - 2.0 - 0.25) * RATE)
    assert second.frames == plan.frames - second.begins
    assert second.sent == second.heard == second.frames


def test_what_the_watch_says_ends_the_take(tmp_path):
    class Objects(Watchman):
        def __call__(self, block, frame):
            return SafetyStop("it howls") if frame > 3 * RATE else None

    with pytest.raises(SafetyStop, match=r"it howls; the 3\.0 s recorded are kept"):
        take(RIG, long_plan(), tmp_path / "c", Watched(100, simulated()[1]), watch=Objects)


def test_a_take_of_no_pass_at_all_is_no_take(rig, plan, tmp_path):
    with pytest.raises(ValueError, match="passes=0"):
        take(rig, plan, tmp_path / "c", Wire(), passes=0)


def test_a_full_disk_keeps_what_was_played_and_the_same_take_goes_on(tiny_disk, monkeypatch):
    if shutil.disk_usage(tiny_disk).total > 2**21:
        pytest.skip("no small disk may be mounted here")
    # the disk is found to have room, and fills up while it is played
    monkeypatch.setattr("profiler.capture.take.SPARE_DISK_BYTES", -(10**9))
    silence = {"kind": "silence", "use": "align", "seconds": 0.1}
    marker = {"kind": "marker", "use": "align", "level_dbfs": -12.0}
    names = ("pre-roll", "head", "middle", "tail", "post-roll")
    kinds = (silence, marker, silence, marker, silence)
    segments = [kind | {"name": name} for name, kind in zip(names, kinds, strict=True)]
    short = SignalDefinition.model_validate({"name": "short", "segments": segments}).plan(RATE)
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(620_000))
    one_channel = RIG.interface.model_copy(update={"loopback_channel": None})
    rig = RIG.model_copy(update={"interface": one_channel})
    interface = Simulated(rig)
    with pytest.raises(ProfilerError, match=r"make room and run the command again.* are kept in"):
        take(rig, short, tiny_disk / "c", interface)
    with pytest.raises(CaptureError, match="did not reach its end"):
        CaptureFolder.existing(tiny_disk / "c")
    kept, _ = wav.read(CaptureFolder(tiny_disk / "c").partial_response_path)
    assert len(kept) > 0.3 * RATE
    ballast.unlink()
    folder = take(rig, short, tiny_disk / "c", interface)
    folder.verify_unchanged()
    assert len(wav.read(folder.response_path)[0]) == short.frames

import numpy as np
import pytest

from profiler import wav
from profiler.capture.folder import CaptureFolder
from profiler.capture.take import take
from profiler.errors import CaptureError, Dropout, InterfaceError, ProfilerError, SafetyStop
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.stimulus.plan import SignalDefinition, Sine

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
    with pytest.raises(InterfaceError):
        take(rig, plan, tmp_path / "c", Wire(fails=InterfaceError("x"), after_frames=24_000))
    folder = take(rig, plan, tmp_path / "c", Wire())
    folder.verify_unchanged()
    assert not folder.partial_response_path.exists()


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

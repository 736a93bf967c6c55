import contextlib
import datetime
from pathlib import Path

import numpy as np
import pytest

from profiler import wav
from profiler.capture.folder import CaptureFolder, CaptureRecord
from profiler.errors import CaptureError, DefinitionError
from profiler.rig.interface import StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalDefinition

SEGMENT = {"name": "tone", "kind": "sine", "use": "train", "seconds": 0.01}
PLAN = SignalDefinition.model_validate({"name": "mine", "segments": [SEGMENT]}).plan(48_000)
RIG = Rig.model_validate(
    {"name": "loop", "maximum_send_dbfs": 0, "interface": {"driver": "simulated"}}
)


@pytest.fixture
def folder(tmp_path):
    folder = CaptureFolder(tmp_path / "take")
    for path in (folder.stimulus_path, folder.response_path):
        wav.write(path, np.zeros(480, np.float32), 48_000)
    record(folder).save(folder.record_path)
    return folder


def record(folder):
    return CaptureRecord(
        created_utc=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        plan=PLAN,
        rig=RIG,
        stream=StreamReport("simulated", "in software", 48_000, 480, 2, (256,), ((256, "late"),)),
        stimulus_sha256=wav.sha256(folder.stimulus_path),
        response_sha256=wav.sha256(folder.response_path),
    )


def test_the_circumstances_of_a_take_survive_saving_and_loading(folder):
    assert CaptureFolder.existing(folder.path).record() == record(folder)


def test_an_untouched_capture_is_accepted(folder):
    folder.verify_unchanged()


@pytest.mark.parametrize("name", ["stimulus.wav", "response.wav"])
def test_audio_that_was_edited_is_refused(folder, name):
    samples = np.zeros(480, np.float32)
    samples[7] = 1e-6
    wav.write(folder.path / name, samples, 48_000)
    with pytest.raises(CaptureError, match=rf"{name}: has changed since it was recorded"):
        folder.verify_unchanged()


@pytest.mark.parametrize("name", ["stimulus.wav", "response.wav"])
def test_audio_that_is_missing_is_refused(folder, name):
    (folder.path / name).unlink()
    with pytest.raises(CaptureError, match=rf"{name}: is missing"):
        folder.verify_unchanged()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="nowhere: no such capture folder"):
        CaptureFolder.existing(tmp_path / "nowhere")


def test_a_folder_without_a_capture_is_refused(tmp_path):
    with pytest.raises(CaptureError, match=r"holds no finished capture \(no capture\.json\)$"):
        CaptureFolder.existing(tmp_path)


def test_a_take_that_did_not_reach_its_end_is_refused_by_name(tmp_path):
    CaptureFolder(tmp_path).partial_response_path.write_bytes(b"")
    with pytest.raises(CaptureError, match="did not reach its end: capture again"):
        CaptureFolder.existing(tmp_path)


@pytest.mark.parametrize(
    ("found", "replacement", "complaint"),
    [
        ("ampscope.capture/1", "ampscope.capture/2", "'ampscope.capture/1', got 'ampscope.cap"),
        ('"frames"', '"frame"', r"stream\.frames"),
        ("{", "", r"capture\.json: "),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(folder, found, replacement, complaint):
    text = folder.record_path.read_text()
    assert found in text
    folder.record_path.write_text(text.replace(found, replacement, 1))
    with pytest.raises(DefinitionError, match=complaint) as refusal:
        folder.record()
    assert "\n" not in str(refusal.value)


# A take becomes the capture by renaming. A program may be killed between any two steps.

STEPS = 13  # more than there are


@pytest.mark.parametrize("steps", range(STEPS + 1))
@pytest.mark.parametrize("joined", [False, True])
def test_at_whatever_step_of_the_renaming_a_program_is_killed_the_new_capture_is_whole(
    steps, joined, folder, monkeypatch
):
    folder.alignment_path.write_text("{}")
    old = folder.record()
    response = folder.joined_response_path if joined else folder.partial_response_path
    for path in (folder.partial_stimulus_path, response):
        wav.write(path, np.full(480, 0.25, np.float32), 48_000)
    if joined:
        for number in (1, 2, 7):
            wav.write(folder.pass_path(number), np.zeros(480, np.float32), 48_000)
    else:
        folder.partial_blocks_path.write_text("new")
    new = record(folder).model_copy(
        update={
            "stimulus_sha256": wav.sha256(folder.partial_stimulus_path),
            "response_sha256": wav.sha256(response),
        }
    )

    left = iter(range(steps))

    def until_killed(step):
        def step_or_death(*arguments, **named):
            if next(left, None) is None:
                raise Killed
            return step(*arguments, **named)

        return step_or_death

    with monkeypatch.context() as killing, contextlib.suppress(Killed):
        for name in ("replace", "unlink"):
            killing.setattr(Path, name, until_killed(getattr(Path, name)))
        folder.commit(new, passes={1, 2})
    survivor = CaptureFolder.existing(folder.path)
    survivor.verify_unchanged()
    assert survivor.record() in (old, new)
    assert survivor.record() == new or steps < STEPS
    if folder.record() == new:
        assert not folder.alignment_path.exists()
        assert not [path for path in folder.path.iterdir() if ".partial." in path.name]
        assert not joined or folder.pass_numbers() == [1, 2] or steps < 4


class Killed(BaseException):
    """As if by SIGKILL: nothing is caught, nothing is tidied."""

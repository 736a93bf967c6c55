import json

import numpy as np
import pytest

from benchmarks import killed
from profiler import wav
from profiler.capture.folder import CaptureFolder


@pytest.mark.parametrize(("command", "folders"), [("capture", 6), ("profile", 1)])
def test_whenever_a_command_is_killed_nothing_is_lost_and_it_finishes_the_job(
    command, folders, capsys
):
    assert killed.benchmark([command, "--moments", str(folders), "--seed", "100"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lost"] == []
    assert found["undisturbed"]["exit"] in (0, 3)


def test_a_recording_that_is_shorter_than_what_was_handed_over_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = CaptureFolder(tmp_path / "c")
    wav.write(folder.partial_response_path, np.zeros((4800, 1), np.float32), 48_000)
    expected = np.zeros(48_000)
    (tmp_path / killed.HANDED_OVER).write_text("4800")
    assert killed.look_at(folder.path, expected) == "begun"
    (tmp_path / killed.HANDED_OVER).write_text("4801")
    with pytest.raises(killed.Lost, match="4801 frames were recorded and 4800 are kept"):
        killed.look_at(folder.path, expected)


def test_a_recording_of_something_else_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = CaptureFolder(tmp_path / "c")
    wav.write(folder.partial_response_path, np.full((4800, 1), 0.1, np.float32), 48_000)
    (tmp_path / killed.HANDED_OVER).write_text("4800")
    with pytest.raises(killed.Lost, match="not what was played"):
        killed.look_at(folder.path, np.zeros(48_000))

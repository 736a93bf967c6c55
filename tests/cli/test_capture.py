"""What `ampscope capture` does beyond the take itself."""

import json
from pathlib import Path

import pytest

from profiler.capture.folder import CaptureFolder

SIGNAL = """
name = "short"
[[segments]]
name = "noise"
kind = "noise"
use = "train"
level_dbfs = -12
seconds = 2
"""
QUICKLY = ("wire", "--signal", "./short.toml", "-o", "c")


@pytest.fixture
def short(ampscope):
    """In a folder with a short signal."""
    Path("short.toml").write_text(SIGNAL)
    return ampscope


def test_passes_are_averaged_and_the_gain_is_told(short):
    outcome = short("capture", *QUICKLY, "--average", "3", "--json")
    assert outcome.code == 0, outcome.err
    average = json.loads(outcome.out)["average"]
    assert len(average["parts"]) == 3
    assert average["snr_gain_db"] == pytest.approx(4.77, abs=0.5)
    outcome = short("capture", *QUICKLY, "--average", "2", "-y")
    assert "average of 2 of 2 passes, noise 3.0 dB lower" in outcome.out


def test_a_capture_of_one_pass_is_not_taken_for_an_average(short):
    assert short("capture", *QUICKLY).code == 0
    outcome = short("profile", *QUICKLY, "--average", "2")
    assert outcome.code == 1
    assert "holds a capture of 1 of 2 passes: choose another folder with -o" in outcome.complaint


def test_a_command_that_was_killed_after_its_take_goes_on_from_there(short):
    assert short("capture", *QUICKLY).code == 0
    folder = CaptureFolder(Path("c"))
    before = folder.record()
    assert "already holds" in short("capture", *QUICKLY).complaint
    folder.alignment_path.unlink()
    outcome = short("capture", *QUICKLY)
    assert outcome.code == 0, outcome.err
    assert "the take is there already" in outcome.err
    assert folder.record() == before
    assert folder.alignment_path.is_file()


def test_the_take_of_another_signal_is_not_gone_on_with(short):
    assert short("capture", *QUICKLY).code == 0
    CaptureFolder(Path("c")).alignment_path.unlink()
    outcome = short("capture", *QUICKLY, "--level", "-20dBFS")
    assert "already holds" in outcome.complaint


@pytest.mark.parametrize("passes", ["0", "65", "two"])
def test_a_number_of_passes_that_cannot_be_meant_is_a_usage_error(passes, short):
    assert short("capture", *QUICKLY, "--average", passes).code == 2

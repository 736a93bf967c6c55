"""The main job from the command line, on a signal short enough for a test."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from profiler import wav
from profiler.capture.folder import CaptureFolder
from profiler.definitions import shipped_folder
from profiler.export import nam

SIGNAL = """
name = "tiny"
seed = 5
[[segments]]
name = "pre-roll"
kind = "silence"
use = "align"
seconds = 0.5
[[segments]]
name = "head"
kind = "marker"
use = "align"
level_dbfs = -12
[[segments]]
name = "quiet"
kind = "silence"
use = "analyse"
seconds = 0.5
[[segments]]
name = "sweep"
kind = "sweep"
use = "analyse"
level_dbfs = -12
seconds = 1.5
[[segments]]
name = "A440"
kind = "burst"
use = "analyse"
level_dbfs = -12
before_seconds = 0.2
tone_seconds = 0.8
after_seconds = 0.4
[[segments]]
name = "middle"
kind = "marker"
use = "align"
level_dbfs = -12
[[segments]]
name = "guitar"
kind = "guitar"
use = "train"
level_dbfs = -1
seconds = 4
[[segments]]
name = "validation"
kind = "guitar"
use = "validate"
level_dbfs = -1
seed = 1
seconds = 1
[[segments]]
name = "validation again"
kind = "guitar"
use = "validate"
level_dbfs = -1
seed = 1
seconds = 1
replicate_of = "validation"
[[segments]]
name = "test"
kind = "guitar"
use = "test"
level_dbfs = -1
seed = 2
seconds = 1
[[segments]]
name = "tail"
kind = "marker"
use = "align"
level_dbfs = -12
[[segments]]
name = "post-roll"
kind = "silence"
use = "align"
seconds = 1
"""
QUICKLY = ("--signal", "./tiny.toml", "--architecture", "nano", "--minutes", "0.1")


@pytest.fixture
def tiny(ampscope):
    """In a folder with the tiny signal."""
    Path("tiny.toml").write_text(SIGNAL)
    return ampscope


def test_a_rig_becomes_a_verified_model_and_a_report(tiny):
    tiny("calibrate", "send", "drive")
    tiny("calibrate", "return", "drive")
    outcome = tiny("profile", "drive", *QUICKLY, "--level", "-3dBu", "-o", "c", "--json")
    assert outcome.code in (0, 3), outcome.err  # six seconds of training may not pass
    result = json.loads(outcome.out)
    assert result["schema"] == "ampscope.profile/1"
    assert result["alignment"]["delay_samples"] == pytest.approx(1234.567, abs=0.1)
    assert result["verification"]["parity_max_abs"] <= 1e-5
    model = nam.read(Path(result["nam"]))
    assert model.sample_rate == 48_000
    for level in ("input_level_dbu", "output_level_dbu"):  # a sine of 1 V peak, at any --level
        assert model.metadata[level] == pytest.approx(-0.79, abs=0.1)
    assert "<html" in Path(result["report"]).read_text()
    for name in ("capture.json", "stimulus.wav", "response.wav", "alignment.json", "analysis.json"):
        assert (Path("c") / name).is_file()


def test_the_same_command_again_finds_every_stage_done(tiny):
    tiny("profile", "wire", *QUICKLY, "-o", "c")
    before = {path: path.stat().st_mtime_ns for path in Path("c").rglob("*") if path.is_file()}
    again = tiny("profile", "wire", *QUICKLY, "-o", "c")
    assert again.err.count("already there") == 7
    after = {path: path.stat().st_mtime_ns for path in Path("c").rglob("*") if path.is_file()}
    assert before == after


def test_a_folder_of_another_rig_is_refused(tiny):
    tiny("capture", "wire", "--signal", "./tiny.toml", "-o", "c")
    outcome = tiny("profile", "drive", *QUICKLY, "-o", "c")
    assert outcome.code == 1
    assert "holds a capture of rig wire" in outcome.complaint


def test_a_pair_of_files_is_a_rig_too(tiny):
    tiny("signal", "make", "./tiny.toml", "-o", "played.wav")
    tiny("capture", "drive", "--signal", "./tiny.toml", "-o", "c")
    recorded, rate = wav.read(Path("c/response.wav"))
    wav.write(Path("recorded.wav"), recorded, rate)
    Path("pair.toml").write_text(
        'name = "pair"\nmaximum_send_dbfs = 0\n[interface]\ndriver = "file"\n'
        'stimulus = "played.wav"\nresponse = "recorded.wav"\n'
    )
    outcome = tiny("profile", "./pair.toml", *QUICKLY, "-o", "p", "--json")
    assert outcome.code in (0, 3), outcome.err
    result = json.loads(outcome.out)
    assert result["alignment"]["delay_samples"] == pytest.approx(1234.567, abs=0.1)


def test_a_dry_run_writes_the_stimulus_and_plays_nothing(tiny):
    outcome = tiny("profile", "wire", *QUICKLY, "-o", "c", "--dry-run")
    assert outcome.code == 0
    assert "no sound was made" in outcome.err
    assert not Path("c").exists()
    stimulus, _ = wav.read_mono(Path(outcome.out.strip()))
    assert len(stimulus) > 0


def test_real_sound_is_not_made_unasked(tiny):
    text = (shipped_folder("rigs") / "wire.toml").read_text()
    interface = 'driver = "portaudio"\ndevice = "anything"\n'
    head, _ = text.split("[interface]")
    Path("real.toml").write_text(f"{head}[interface]\n{interface}")
    outcome = tiny("capture", "./real.toml", "--signal", "./tiny.toml", "-o", "c")
    assert outcome.code == 5
    assert "no sound was made" in outcome.complaint
    assert not Path("c").exists()


def test_ctrl_c_in_training_keeps_and_exports_the_best_so_far(tiny):
    command = [sys.executable, "-m", "profiler", "profile", "wire", *QUICKLY[:4]]
    process = subprocess.Popen(
        [*command, "--minutes", "5", "-o", "c"], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    state = Path("c/models/nano/training-state.safetensors")
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the best model so far" in said
    (exported,) = Path("c/models/nano/exports").glob("*.nam")
    nam.read(exported)
    assert CaptureFolder.existing(Path("c")).report_path.is_file()


def test_a_training_that_was_killed_goes_on(tiny):
    command = [sys.executable, "-m", "profiler", "profile", "wire", *QUICKLY, "-o", "c"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ)
    state = Path("c/models/nano/training-state.safetensors")
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    outcome = tiny("profile", "wire", *QUICKLY, "-o", "c")
    assert outcome.code in (0, 3), outcome.err
    assert outcome.err.count("already there") >= 3  # capture, align and measure stand

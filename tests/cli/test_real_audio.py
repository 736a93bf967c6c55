"""Real audio from the command line: PortAudio over a JACK server, the device another process."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from profiler import wav
from profiler.capture import session
from profiler.capture.folder import CaptureFolder
from profiler.export import nam
from profiler.rig.rig import load_rig
from tests.cli.test_profile import QUICKLY, SIGNAL
from tests.rig.jack_server import JackServer, insert_command

INSERT_DELAY = 321
PERIOD = 256

RIG = """
name = "insert"
maximum_send_dbfs = 0
[interface]
driver = "portaudio"
device = "{device}"
host_api = "JACK Audio Connection Kit"
[chain]
make = "Ampscope"
model = "Bending insert"
gear_type = "pedal"
"""


@pytest.fixture
def server(tmp_path):
    jack = JackServer(tmp_path, period=PERIOD)
    yield jack
    jack.close()


@pytest.fixture
def start(server, tmp_path, monkeypatch):
    """Start `ampscope` in an empty folder, its device one of the server's clients.

    The device was approached in this session, unless it is said to be new.
    """
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.toml").write_text(SIGNAL)
    environment = server.environment | {"AMPSCOPE_HOME": str(tmp_path / "home")}

    def started(device, *arguments, new=False):
        rig = tmp_path / "rig.toml"
        rig.write_text(RIG.format(device=device))
        if not new:
            session.remember(load_rig(str(rig)).fingerprint, "approached")
        return subprocess.Popen(
            [sys.executable, "-m", "profiler", *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def test_a_device_that_bends_the_signal_becomes_a_model(server, start, tmp_path):
    server.start_client(insert_command("amp", str(INSERT_DELAY)), "amp:out")
    # as long as it takes on a busy machine, and no longer on another
    until = (*QUICKLY[:-1], "0.8", "--until-esr", "0.08")
    process = start("amp", "profile", "./rig.toml", *until, "-o", "c", "-y", "--json")
    out, err = process.communicate(timeout=200)
    assert process.returncode in (0, 3), err
    result = json.loads(out)
    # the insert adds whole samples to one JACK period each way round
    assert result["alignment"]["delay_samples"] == pytest.approx(PERIOD + INSERT_DELAY, abs=0.1)
    assert result["alignment"]["polarity"] == 1
    assert result["verification"]["esr"] < 0.2
    nam.read(tmp_path / result["nam"])


def test_a_new_rig_is_approached_by_a_quiet_ramp_once_in_a_session(start, tmp_path):
    arguments = ("capture", "./rig.toml", "--signal", "./tiny.toml", "--level", "-35dBFS", "-y")
    _, err = start("loopback", *arguments, "-o", "c", new=True).communicate(timeout=60)
    assert re.search(r"a quiet ramp up to -4\d\.\d dBFS\n.*the return answers: -[45]", err), err
    assert session.happened(load_rig(str(tmp_path / "rig.toml")).fingerprint, "approached")


def test_a_rig_that_does_not_answer_is_not_played_to(start, tmp_path):
    silent = RIG.replace("[chain]", "return_channel = 2\n[chain]").format(device="loopback")
    (tmp_path / "silent.toml").write_text(silent)
    process = start("loopback", "capture", "./silent.toml", "-o", "c", "-y")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "nothing but crosstalk came back up to a peak of -40 dBFS (input channel 2" in err
    assert not (tmp_path / "c").exists()


def test_a_wire_comes_back_bit_for_bit_after_its_latency(start, tmp_path):
    arguments = ("capture", "./rig.toml", "--signal", "./tiny.toml", "-o", "c", "-y")
    process = start("loopback", *arguments)
    out, err = process.communicate(timeout=60)
    # the rig says that an amp is there, and it is not
    assert (process.returncode, "stop  bypass" in out) == (3, True), err
    process = start("loopback", *arguments, "--accept", "bypass")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert CaptureFolder(tmp_path / "c").record().accepted == ("bypass",)
    assert "ramp" not in err  # that was earlier in this session
    played, _ = wav.read_mono(tmp_path / "c" / "stimulus.wav")
    recorded, _ = wav.read_mono(tmp_path / "c" / "response.wav")
    np.testing.assert_array_equal(recorded[PERIOD:], played[:-PERIOD])


def test_a_server_killed_in_a_take_ends_the_command_and_keeps_the_part(server, start, tmp_path):
    process = start("loopback", "capture", "./rig.toml", "-o", "c", "-y")
    partial = tmp_path / "c" / "response.partial.wav"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 200_000)
    server.kill()
    killed = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - killed < 5.0
    assert process.returncode == 4
    assert str(partial.relative_to(tmp_path)) in err
    assert "Traceback" not in err
    assert len(wav.read_mono(partial)[0]) > 48_000


def test_ctrl_c_in_a_take_keeps_what_was_recorded(start, tmp_path):
    process = start("loopback", "capture", "./rig.toml", "-o", "c", "-y")
    partial = tmp_path / "c" / "response.partial.wav"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 200_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "are kept in" in err
    assert len(wav.read_mono(partial)[0]) > 48_000


def test_an_unknown_device_is_refused_and_the_ones_there_are_listed(start):
    process = start("loopbakc", "capture", "./rig.toml", "-o", "c", "-y")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "loopback" in err.splitlines()[-1]


def test_a_rate_that_the_device_refuses_is_named(start, tmp_path):
    process = start("loopback", "devices", "--json")
    listed = json.loads(process.communicate(timeout=60)[0])["devices"]
    assert {"loopback"} <= {device["name"] for device in listed}
    text = RIG.replace("[chain]", "sample_rate = 96000\n[chain]")
    (tmp_path / "fast.toml").write_text(text.format(device="loopback"))
    process = start("loopback", "capture", "./fast.toml", "-o", "c", "-y")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "96000" in err
    assert not (tmp_path / "c").exists()


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "nothing was recorded within 30 s"
        time.sleep(0.05)

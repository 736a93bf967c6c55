"""Playing live: PortAudio over a JACK server of 64 frames, the guitarist another process."""

import json
import re
import signal as signal_
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.signal

from profiler import wav
from profiler.export import nam
from profiler.model.streaming import render
from profiler.model.wavenet import ARCHITECTURES, WaveNet, initial_weights
from tests.rig import guitarist
from tests.rig.jack_server import JackServer

RATE = 48_000
PERIOD = 64
QUIET = ("--gain-out", "-60", "-y")  # where a wire leads back into the model
RISEN = 5 * RATE // 2  # of the sound: 2 s, and what the start takes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    jack = JackServer(tmp_path_factory.mktemp("jack"), sample_rate=RATE, period=PERIOD)
    yield jack
    jack.close()


@pytest.fixture
def models(tmp_path):
    """Two models as files, and the second a mirror image of the first at half its size."""
    weights = initial_weights(ARCHITECTURES["nano"], 3)
    weights[-1] = 0.05  # so that what it says to silence is no offset to speak of
    networks = []
    for name, factor in (("one", 1.0), ("other", -0.5)):
        weights = weights.copy()
        weights[-1] *= factor
        networks.append(WaveNet(ARCHITECTURES["nano"], weights, RATE))
        metadata = nam.Metadata()
        nam.write(tmp_path / f"{name}.nam", networks[-1], metadata)
    return networks


class Guitarist:
    """One who plays these samples, and hears what comes back."""

    def __init__(self, server, folder, played):
        self._heard = folder / "heard.npy"
        np.save(folder / "played.npy", played.astype(np.float32))
        self.process = subprocess.Popen(
            [sys.executable, guitarist.__file__, "guitarist", folder / "played.npy", self._heard],
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        server.wait_for_port("guitarist:out", self.process)

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def heard(self):
        assert int(self.process.stdout.readline()) >= 0
        return np.load(self._heard)

    def close(self):
        self.process.communicate(timeout=20)  # a client that is killed takes the server along


@pytest.fixture
def guitar(server, tmp_path):
    """Makes a guitarist."""
    guitarists = []

    def playing(played):
        guitarists.append(Guitarist(server, tmp_path, played))
        return guitarists[-1]

    yield playing
    for each in guitarists:
        each.close()


@pytest.fixture
def play(server, tmp_path):
    """Start `ampscope play`."""
    processes = []

    def started(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "profiler", "play", *arguments],
            cwd=tmp_path,
            env=server.environment | {"AMPSCOPE_HOME": str(tmp_path / "home")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_sound(process):
    """The lines until it plays."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("in "):
            return "".join(lines)
    raise AssertionError("".join(lines))


def guitar_like(seconds, seed=0):
    """Noise that rises and falls, after the time in which the sound comes up."""
    frames = round(seconds * RATE)
    swell = np.sin(np.pi * np.arange(frames) / frames)
    noise = 0.2 * swell * np.random.default_rng(seed).standard_normal(frames)
    return np.concatenate([np.zeros(RISEN), noise]).astype(np.float32)


def test_a_model_is_heard_one_period_later_and_exactly(models, guitar, play):
    signal = guitar_like(1.0)
    player = guitar(signal)
    process = play("one.nam", "--device", "guitarist", "--seconds", "5s", "-y", "--json")
    said = wait_for_sound(process)
    assert "one live through guitarist" in said
    assert "Speaker or load connected" in said
    player.begin()
    heard = player.heard()
    expected = render(models[0], signal)
    assert np.max(np.abs(heard[RISEN + PERIOD :] - expected[RISEN:-PERIOD])) < 1e-6
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["schema"] == "ampscope.play/1"
    assert told["block_sizes"] == [PERIOD, PERIOD]
    assert 0.0 < told["load_mean"] <= told["load_highest"]
    assert told["input_peak_dbfs"] == pytest.approx(20 * np.log10(np.max(np.abs(signal))), abs=1e-3)
    assert 4.5 < told["seconds"] < 5.5


def test_gains_and_a_cabinet_of_another_rate(models, guitar, play, tmp_path):
    taps = np.random.default_rng(1).standard_normal(400) * np.exp(-np.arange(400) / 60) / 20
    wav.write(tmp_path / "cab.wav", taps.astype(np.float32), RATE)
    signal = guitar_like(0.5)
    player = guitar(signal)
    arguments = ("--gain-in", "-6", "--gain-out", "3", "--ir", "cab.wav", "--seconds", "5s", "-y")
    process = play("one.nam", "--device", "guitarist", *arguments)
    wait_for_sound(process)
    player.begin()
    dry = 10 ** (3 / 20) * render(models[0], (10 ** (-6 / 20) * signal).astype(np.float32))
    expected = scipy.signal.lfilter(taps, 1.0, dry)
    assert np.max(np.abs(player.heard()[RISEN + PERIOD :] - expected[RISEN:-PERIOD])) < 1e-5
    out, _ = process.communicate(timeout=30)
    assert re.search(r"load +[\d.]+ % mean", out)


def test_ctrl_c_fades_the_sound_out_and_tells_what_happened(models, guitar, play):
    signal = 0.1 * np.sin(2 * np.pi * 440 * np.arange(8 * RATE) / RATE)
    player = guitar(signal)
    process = play("one.nam", "--device", "guitarist", "-y")
    wait_for_sound(process)
    player.begin()
    time.sleep(3.2)
    process.send_signal(signal_.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, "interrupted" in err) == (130, True)
    assert "played" in out
    heard = player.heard()
    last = np.flatnonzero(heard)[-1]
    steepest = np.max(np.abs(np.diff(heard[RISEN:last])))
    assert np.max(np.abs(np.diff(heard[last - 2000 : last + 100]))) <= steepest


def test_the_round_trip_is_measured_over_a_wire_and_told_when_playing(models, play):
    process = play("--round-trip", "--device", "loopback", "-y", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["round_trip_samples"] == PERIOD
    process = play("one.nam", "--device", "loopback", "--seconds", "1s", "--json", *QUIET)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["round_trip_ms"] == pytest.approx(1e3 * PERIOD / RATE)


def test_feedback_is_faded_out_and_ends_with_the_safety_code(models, play):
    process = play("one.nam", "--device", "loopback", "--gain-in", "60", "--gain-out", "60", "-y")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert re.search(r"the output (stood at the ceiling|held an offset)", err)


def test_a_server_that_dies_ends_it_within_seconds(models, play, tmp_path):
    jack = JackServer(tmp_path, sample_rate=RATE, period=PERIOD)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "profiler", "play", "one.nam", "--device", "loopback", *QUIET],
            cwd=tmp_path,
            env=jack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_sound(process)
        jack.kill()
        _, err = process.communicate(timeout=15)
    finally:
        jack.close()
    assert process.returncode == 4
    assert "the audio stopped coming" in err
    assert "Traceback" not in err


def test_nothing_sounds_without_a_yes(models, play):
    process = play("one.nam", "--device", "loopback")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "no sound was made" in err


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--device", "loopback"], 2, "one MODEL or more"),
        (["one.nam", "--round-trip", "--device", "loopback"], 2, "takes no MODEL"),
        (["one.nam", "--device", "loopback", "--ceiling", "1Vrms"], 2, "0dBFS or lower"),
        (["none.nam", "--device", "loopback", "-y"], 1, "none.nam"),
        (["one.nam", "--device", "nowhere", "-y"], 4, "nowhere"),
        (["one.nam", "--device", "loopback", "--ir", "none.wav", "-y"], 1, "none.wav"),
        (["one.nam", "--device", "loopback", "--output", "9", "-y"], 4, "channel 9"),
        (["one.nam", "slow.nam", "--device", "loopback", "-y"], 1, "one sample rate"),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_line(
    models, play, tmp_path, arguments, code, complaint
):
    slow = WaveNet(models[0].config, models[0].weights, 44_100)
    nam.write(tmp_path / "slow.nam", slow, nam.Metadata())
    process = play(*arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert complaint in err.splitlines()[-1]
    assert "Traceback" not in err

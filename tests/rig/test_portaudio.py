"""Real audio: PortAudio over a JACK server, with other processes at the far end.

The server is synchronous (see `jack_server.py`), so what a wire returns is exact however busy the
machine is; where blocks are to be lost, it is not.
"""

import errno
import json
import signal
import subprocess
import sys
import time

import jack
import numpy as np
import pytest

from profiler.capture.alignment import align
from profiler.capture.checks.check import check
from profiler.capture.checks.evidence import Evidence
from profiler.capture.watchdog import Watchdog
from profiler.errors import InterfaceError, NotAligned, ProfilerError, SafetyStop
from profiler.rig import portaudio
from profiler.rig.portaudio import Device, PortAudio, choose_device
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render
from tests.rig import real_take
from tests.rig.bending_insert import bend
from tests.rig.jack_server import JackServer, insert_command
from tests.rig.real_take import RATE, rig_for, stimulus_for

PERIOD = 256
INSERT_DELAY = 321  # samples
JACK = "JACK Audio Connection Kit"
FADE = RATE // 100


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a wire, `loopback`, and a device, `bending insert`."""
    server = JackServer(tmp_path_factory.mktemp("jack"), sample_rate=RATE, period=PERIOD)
    try:
        server.start_client(
            insert_command("bending insert", str(INSERT_DELAY)), "bending insert:out"
        )
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            yield server
    finally:
        server.close()


def take(rig, stimulus):
    """The stream's report, and the response, `(frames, channels)`."""
    blocks = []
    report = PortAudio(rig).play_record(
        np.array_split(stimulus, 30), len(stimulus), lambda block: blocks.append(block.samples)
    )
    return report, np.concatenate(blocks)


# -- a take -----------------------------------------------------------------------------


def test_a_wire_returns_every_bit_with_the_same_latency_on_five_takes(server):
    stimulus = stimulus_for(1.0)
    for _ in range(5):
        report, response = take(rig_for("loopback"), stimulus)
        assert response.shape == (RATE, 1)
        assert np.array_equal(response[PERIOD:, 0], stimulus[:-PERIOD])
        assert report.driver == "portaudio"
        assert report.device == f"loopback, {JACK}"
        assert (report.frames, report.blocks) == (RATE, -(-RATE // PERIOD))
        assert report.block_sizes == (PERIOD,)


def test_another_process_that_bends_the_signal_does_so_exactly(server):
    stimulus = stimulus_for(1.0)
    _, response = take(rig_for("bending insert"), stimulus)
    latency = PERIOD + INSERT_DELAY
    # Two processes may take tanh from different vector units: a float32 step of 0.6 each.
    np.testing.assert_allclose(
        response[latency:, 0], bend(stimulus[:-latency]), rtol=0.0, atol=2.0**-23
    )
    assert not response[:latency].any()  # what it says to silence


def test_the_loopback_channel_is_the_second_column(server):
    stimulus = stimulus_for(0.5)
    rig = rig_for("loopback", send_channel=2, return_channel=1, loopback_channel=2)
    _, response = take(rig, stimulus)
    assert response.shape == (len(stimulus), 2)
    assert not response[:, 0].any()
    assert np.array_equal(response[PERIOD:, 1], stimulus[:-PERIOD])


@pytest.mark.parametrize("loopback", [None, 1])
def test_the_di_channel_is_the_last_column(server, loopback):
    stimulus = stimulus_for(0.5)
    rig = rig_for(
        "loopback", send_channel=2, return_channel=1, loopback_channel=loopback, di_channel=2
    )
    _, response = take(rig, stimulus)
    assert response.shape == (len(stimulus), 2 if loopback is None else 3)
    assert not response[:, :-1].any()
    assert np.array_equal(response[PERIOD:, -1], stimulus[:-PERIOD])


def test_a_block_size_of_our_own_adds_that_much_latency(server):
    stimulus = stimulus_for(0.5)
    report, response = take(rig_for("loopback", block_size=512), stimulus)
    assert report.block_sizes == (512,)
    assert np.array_equal(response[PERIOD + 512 :, 0], stimulus[: -PERIOD - 512])


def test_a_server_that_pauses_for_a_moment_loses_nothing(server):
    stimulus = stimulus_for(1.5)
    blocks = []

    def on_block(block):
        blocks.append(block.samples)
        if len(blocks) == 60:
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            server.process.send_signal(signal.SIGCONT)

    PortAudio(rig_for("loopback")).play_record([stimulus], len(stimulus), on_block)
    response = np.concatenate(blocks)[:, 0]
    assert np.array_equal(response[PERIOD:], stimulus[:-PERIOD])


# -- what is heard while it sounds ------------------------------------------------------


def test_the_fade_begins_in_the_callback_in_which_the_watch_objects(server):
    stimulus = stimulus_for(5.0)
    taken, objected = [], []

    def watch(block, frame):
        if frame < RATE:
            return None
        objected.append(frame)
        return SafetyStop("that will do")

    with pytest.raises(SafetyStop, match="that will do"):
        PortAudio(rig_for("loopback")).play_record([stimulus], len(stimulus), taken.append, watch)
    response = np.concatenate([block.samples for block in taken])[:, 0]
    assert objected == [-(-RATE // PERIOD) * PERIOD]  # asked once, not again while it fades
    assert len(response) == objected[0] + FADE
    assert_faded_out(response, stimulus)


def watched_take(device, breaking=None, at_seconds=3.6, signal=None, **settings):
    """A take under the watchdog; `breaking()` is called in its middle, by the writer's thread.

    Returns the plan, the stimulus, what came back and the report, or the error that ended it.
    """
    plan = planned(signal or PROGRAMME)
    stimulus = render(plan)
    watchdog = Watchdog(plan)
    blocks, waiting = [], [breaking] if breaking else []

    def on_block(block):
        blocks.append(block.samples[:, 0])
        if waiting and block.frame > at_seconds * RATE:
            waiting.pop()()

    try:
        ending = PortAudio(rig_for(device, **settings)).play_record(
            watchdog.follow(np.array_split(stimulus, 30)), len(stimulus), on_block, watchdog
        )
    except ProfilerError as error:
        ending = error
    return plan, stimulus, np.concatenate(blocks), ending


def planned(segments):
    named = [{"name": str(i), "use": "align"} | segment for i, segment in enumerate(segments)]
    definition = SignalDefinition.model_validate({"name": "breakage", "segments": named})
    return definition.plan(RATE)


PROGRAMME = (
    {"kind": "silence", "seconds": 0.3},
    {"kind": "noise", "seconds": 8.0, "level_dbfs": -3.0, "lowest_db": -15.0},
)
MARKER = {"kind": "marker", "level_dbfs": -12.0}
GUITAR = {"kind": "guitar", "seconds": 1.5, "level_dbfs": -3.0, "lowest_db": -15.0}
MARKED = ({"kind": "silence", "seconds": 0.3}, MARKER, GUITAR, MARKER, GUITAR, MARKER)


def test_ports_that_are_disconnected_end_the_take(server):
    _, stimulus, response, ending = watched_take("loopback", lambda: disconnect("loopback"))
    assert isinstance(ending, SafetyStop)
    assert "the return fell to -120.0 dBFS RMS" in str(ending)
    broken = np.flatnonzero(response)[-1] + 1
    assert 3.6 < broken / RATE < 5.0  # the writer, which pulls them, may be late
    assert len(response) - broken < 1.0 * RATE
    assert np.array_equal(response[PERIOD:broken], stimulus[: broken - PERIOD])


def disconnect(device):
    """Take every cable out of a device."""
    client = jack.Client("breaker")
    for out in client.get_ports(is_output=True):
        for in_ in client.get_all_connections(out):
            if device in out.name or device in in_.name:
                client.disconnect(out, in_)
    client.close()


def test_a_buffer_size_changed_in_the_middle_is_noted_and_the_take_refused(server):
    try:
        plan, stimulus, response, ending = watched_take(
            "loopback", lambda: resize(2 * PERIOD), at_seconds=2.0, signal=MARKED
        )
    finally:
        resize(PERIOD)
    assert ending.block_sizes == (PERIOD, 2 * PERIOD)
    assert any(f"changed from {PERIOD} to {2 * PERIOD} frames" in note for note in ending.notes)
    assert len(response) == len(stimulus)
    with pytest.raises(NotAligned, match=f"{PERIOD} samples were .* at 2"):
        align(plan, stimulus, response)


def resize(period):
    subprocess.run(["jack_bufsize", str(period)], check=True, capture_output=True)


# -- what ends a take early -------------------------------------------------------------


def assert_faded_out(response, stimulus):
    """What arrived is the stimulus, its last 10 ms under a ramp, as far as it came back."""
    arrived = response[PERIOD:]
    whole = len(response) - FADE  # in front of the fade
    assert np.array_equal(arrived[:whole], stimulus[:whole])
    faded = len(arrived) - whole
    ramp = 0.5 * (1.0 + np.cos(np.pi * np.arange(1, FADE + 1) / FADE))[:faded]
    np.testing.assert_allclose(arrived[whole:], stimulus[whole:][:faded] * ramp, atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"), [(np.nan, "not finite"), (0.95, "over the rig's ceil")]
)
def test_a_bad_sample_never_reaches_the_far_end(server, bad, message):
    stimulus = stimulus_for(6.0)
    stimulus[round(4.5 * RATE)] = bad
    taken = []
    with pytest.raises(SafetyStop, match=message):
        PortAudio(rig_for("loopback")).play_record(
            np.array_split(stimulus, 60), len(stimulus), taken.append
        )
    # It is found as soon as the ring (4 s) has room for its block, 0.4 s into the take.
    response = np.concatenate([block.samples for block in taken])[:, 0]
    assert 0.2 * RATE < len(response) < 2.0 * RATE
    assert_faded_out(response, stimulus)


def test_no_sound_is_made_when_the_first_seconds_are_bad(server):
    stimulus = stimulus_for(1.0)
    stimulus[-1] = 1.0
    taken = []
    with pytest.raises(SafetyStop, match=r"reaches 0\.00 dBFS at 1\.00 s"):
        PortAudio(rig_for("loopback")).play_record([stimulus], len(stimulus), taken.append)
    assert not taken


def test_a_full_disk_ends_the_take_with_its_own_error(server):
    stimulus = stimulus_for(20.0)
    taken = []

    def on_block(block):
        if block.frame > RATE // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(block)

    began = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        PortAudio(rig_for("loopback")).play_record([stimulus], len(stimulus), on_block)
    assert time.monotonic() - began < 10.0
    assert sum(len(block.samples) for block in taken) == pytest.approx(RATE // 2, abs=2 * PERIOD)


def test_a_stimulus_that_fails_to_come_ends_the_take_with_its_own_error(server):
    def damaged():
        yield stimulus_for(0.5)
        raise InterfaceError("stimulus.wav: cannot be read")

    with pytest.raises(InterfaceError, match="cannot be read"):
        PortAudio(rig_for("loopback")).play_record(damaged(), RATE, lambda block: None)


# -- a take in a process of its own, in which the driver breaks ------------------------


@pytest.fixture
def doomed(tmp_path):
    """A server of its own, to be broken."""
    server = JackServer(tmp_path, sample_rate=RATE, period=PERIOD)
    yield server
    server.close()


class RealTake:
    """`real_take.py`, playing when this is made."""

    def __init__(self, server, folder, seconds, device="loopback"):
        self._recording = folder / "recording.npy"
        command = [sys.executable, real_take.__file__, device, str(seconds), self._recording]
        self.process = subprocess.Popen(
            command,
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not self.process.stdout.readline():
            raise RuntimeError(self.process.communicate(timeout=20)[1])

    def ending(self):
        """How it ended, and what it had recorded."""
        return json.loads(self.process.stdout.readline()), np.load(self._recording)

    def finish(self):
        """Exit code and what was printed when the process is over."""
        out, err = self.process.communicate("\n", timeout=20)
        return self.process.returncode, out, err


def broken_take(server, folder, broken_by, device="loopback"):
    """How a take of 20 s ends after `broken_by`, what was kept, and how the process ends."""
    running = RealTake(server, folder, 20, device)
    try:
        broken_at = time.monotonic()
        broken_by(running.process)
        ending, recorded = running.ending()
        exit_ = running.finish()
        over_at = time.monotonic()
    finally:
        running.process.kill()
    assert ending["at"] - broken_at < 3.0
    assert over_at - broken_at < 5.0
    assert len(recorded) > 40 * PERIOD
    return ending, recorded, exit_


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_server_that_dies_in_a_take_is_noticed_and_the_part_kept(doomed, tmp_path, how):
    ending, recorded, (_, out, err) = broken_take(
        doomed, tmp_path, lambda process: getattr(doomed, how)()
    )
    assert ending["error"] == "InterfaceError"
    assert f"loopback, {JACK}: the audio stopped coming at" in ending["message"]
    assert f"at {len(recorded) / RATE:.2f} s of 20.00 s" in ending["message"]
    assert np.array_equal(recorded[PERIOD:], stimulus_for(20.0)[: len(recorded) - PERIOD])
    assert out == ""  # the driver's own words do not get in between the results
    assert "start the program again" in err


def test_a_device_that_dies_holds_up_the_graph_and_the_part_is_kept(doomed, tmp_path):
    amp = doomed.start_client(insert_command("amp", "321"), "amp:out")
    ending, recorded, _ = broken_take(doomed, tmp_path, lambda process: amp.kill(), "amp")
    doomed.kill()  # it waits for the dead client, and would not end by itself
    assert ending["error"] == "InterfaceError"
    assert "the audio stopped coming at" in ending["message"]
    assert np.ptp(recorded) > 0.5


def test_ctrl_c_fades_out_and_keeps_the_part(doomed, tmp_path):
    ending, recorded, exit_ = broken_take(
        doomed, tmp_path, lambda process: process.send_signal(signal.SIGINT)
    )
    assert ending["error"] == "KeyboardInterrupt"
    assert_faded_out(recorded, stimulus_for(20.0))
    assert exit_ == (0, "", "")


def test_ctrl_c_pressed_again_and_again_still_keeps_the_part(doomed, tmp_path):
    def hammer(process):
        for _ in range(10):
            process.send_signal(signal.SIGINT)
            time.sleep(0.003)

    ending, recorded, _ = broken_take(doomed, tmp_path, hammer)
    assert ending["error"] == "KeyboardInterrupt"
    assert_faded_out(recorded, stimulus_for(20.0))


def test_a_server_that_dies_between_takes_does_not_keep_the_process(doomed, tmp_path):
    running = RealTake(doomed, tmp_path, 0.5)
    try:
        ending, _ = running.ending()
        assert ending["error"] == "NoneType"
        doomed.kill()
        began = time.monotonic()
        code, _, err = running.finish()
    finally:
        running.process.kill()
    assert time.monotonic() - began < 5.0
    assert code == 1
    assert "no playback device is there, looking for 'loopback'" in err


# -- a server that does not wait --------------------------------------------------------


@pytest.fixture
def hasty(tmp_path, monkeypatch):
    """A server that leaves a late client out, as a sound card does."""
    server = JackServer(tmp_path, sample_rate=RATE, period=PERIOD, synchronous=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


def assert_whole_or_noted(stimulus, response, report):
    """Every wrong stretch of a finished take lies where the report says that something was.

    Returns the number of wrong samples.
    """
    wrong = np.flatnonzero(response[PERIOD:] != stimulus[:-PERIOD]) + PERIOD
    flagged = np.array([frame for frame, _ in report.flagged])
    for frame in wrong:
        assert np.min(np.abs(flagged - frame)) < 4 * PERIOD, f"{frame}: {report}"
    repeats = [note for note in report.notes if "the return repeated" in note]
    assert bool(len(wrong)) == bool(repeats)
    return len(wrong)


def test_blocks_lost_by_a_slow_callback_are_noted_where_they_were_and_found(hasty):
    plan = load_signal("latency").plan(RATE)
    stimulus = render(plan)
    blocks = []

    def watch(block, frame):
        if frame == 300 * PERIOD:
            time.sleep(0.1)

    report = PortAudio(rig_for("loopback")).play_record(
        [stimulus], len(stimulus), lambda block: blocks.append(block.samples[:, 0]), watch
    )
    response = np.concatenate(blocks)
    assert assert_whole_or_noted(stimulus, response, report) >= PERIOD
    jumps = [note for note in report.notes if "clock jumped" in note]
    assert any(int(note.split()[-2]) > 0.05 * RATE for note in jumps)
    first, *_ = check(Evidence(plan, stimulus, response, is_loop=True, stream=report)).findings
    assert (first.name, first.measured) == ("repeated-block", PERIOD)
    # a busy machine may have lost a block of its own before
    assert 0.0 < first.at_seconds < 300 * PERIOD / RATE + 0.2


def test_a_hasty_server_that_pauses_leaves_a_whole_take_or_a_note(hasty):
    stimulus = stimulus_for(3.0)
    blocks = []

    def on_block(block):
        blocks.append(block.samples[:, 0])
        if len(blocks) == 300:
            hasty.process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            hasty.process.send_signal(signal.SIGCONT)

    report = PortAudio(rig_for("loopback")).play_record([stimulus], len(stimulus), on_block)
    assert report.frames == len(stimulus)
    assert_whole_or_noted(stimulus, np.concatenate(blocks), report)


def test_a_device_that_dies_leaves_silence_and_the_watchdog_ends_the_take(hasty):
    amp = hasty.start_client(insert_command("amp", "321"), "amp:out")
    _, _, response, ending = watched_take("amp", amp.kill)
    assert isinstance(ending, SafetyStop)
    assert "the return fell to -120.0 dBFS RMS" in str(ending)
    assert 3.6 < len(response) / RATE < 6.0


# -- choosing a device ------------------------------------------------------------------


def test_lists_the_devices_with_the_rates_they_take(server):
    assert Device("loopback", JACK, 2, 2, RATE, (RATE,)) in portaudio.devices()
    assert Device("bending insert", JACK, 1, 1, RATE, (RATE,)) in portaudio.devices()


def test_a_part_of_the_name_is_enough_on_the_real_thing(server):
    report, _ = take(rig_for("BENDING", return_device="loop"), np.zeros(1000, np.float32))
    assert report.device == f"bending insert, {JACK} -> loopback, {JACK}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "lopback"}, r"no playback device is named 'lopback': there are loopback, JACK"),
        ({"device": "in"}, None),
        ({"device": "loopback", "sample_rate": 44_100}, r"does not take 44100 Hz: it takes 48000"),
        ({"device": "loopback", "send_channel": 3}, r"has 2 playback channels.*asks for channel 3"),
        ({"device": "loopback", "loopback_channel": 4}, r"2 recording channels.*correct return_ch"),
        ({"device": "loopback", "di_channel": 3}, r"2 recording .*channel 3: correct .*di_channel"),
        (
            {"device": "loopback", "host_api": "ASIO"},
            r"no host API is named 'ASIO': there are.*JACK",
        ),
    ],
)
def test_what_the_driver_cannot_do_is_refused_before_any_sound(server, settings, message):
    if message is None:
        PortAudio(rig_for(**settings))
        return
    with pytest.raises(InterfaceError, match=message):
        PortAudio(rig_for(**settings))


LISTED = (
    Device("Scarlett 2i2 USB", "MME", 0, 2, 44_100),
    Device("Scarlett 2i2 USB", "ASIO", 2, 2, 48_000),
    Device("Scarlett 2i2 USB Surround", "ASIO", 0, 6, 48_000),
    Device("Microphone", "MME", 1, 0, 44_100),
    Device("Audient iD4", "Core Audio", 2, 4, 48_000),
)


@pytest.mark.parametrize(
    ("name", "host_api", "direction", "expected"),
    [
        ("scarlett 2i2 usb", "asio", "send", 1),  # exact goes before part, capitals aside
        ("2i2", None, "return", 1),  # the only one that records
        ("2i2", "mme", "send", 0),
        ("surround", None, "send", 2),
        ("iD4", "core", "send", 4),
    ],
)
def test_finds_the_one_device_that_is_meant(name, host_api, direction, expected):
    assert choose_device(LISTED, name, host_api, direction) == expected


@pytest.mark.parametrize(
    ("name", "host_api", "direction", "message"),
    [
        (
            "scarlett 2i2 usb",
            None,
            "send",
            "^2 playback devices match 'scarlett 2i2 usb': Scarlett 2i2 USB, MME; "
            "Scarlett 2i2 USB, ASIO: give more of the name, or host_api",
        ),
        ("2i2 ", "asio", "send", "^2 playback devices match"),
        (
            "Scarlet 2i4 USB",
            None,
            "return",
            "named 'Scarlet 2i4 USB': there are Scarlett 2i2 USB, AS",
        ),
        (
            "zoom",
            None,
            "return",
            "are Scarlett 2i2 USB, ASIO; Microphone, MME; Audient iD4, Core A",
        ),
        ("Microphone", None, "send", "has no playback channels: name another in device"),
        ("surround", None, "return", "has no recording channels: name another in return_device"),
        ("2i2", "JACK", "send", "no host API is named 'JACK': there are ASIO, Core Audio, MME$"),
    ],
)
def test_a_name_that_does_not_mean_one_device_is_refused(name, host_api, direction, message):
    with pytest.raises(InterfaceError, match=message):
        choose_device(LISTED, name, host_api, direction)


def test_a_machine_without_any_device_says_so():
    with pytest.raises(InterfaceError, match="no playback device is there, looking for 'Scarlett'"):
        choose_device([], "Scarlett", None, "send")


def test_a_machine_without_portaudio_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # as if its import failed
    with pytest.raises(InterfaceError, match="apt install libportaudio2"):
        PortAudio(rig_for("loopback"))


def test_a_rig_that_is_not_real_is_a_wrong_call():
    rig = Rig.model_validate(
        {"name": "s", "maximum_send_dbfs": 0.0, "interface": {"driver": "simulated"}}
    )
    with pytest.raises(ValueError, match="got simulated"):
        PortAudio(rig)

"""Real audio through PortAudio: ASIO, WASAPI, Core Audio, ALSA or JACK.

A stream is played and recorded by `transport.Transport`, whose callback only copies. Here are the
choice of devices, the stream, and the watchdog. A live stream has a callback of native code, which
is handed to PortAudio as an address: no block of it waits for the interpreter.

What is not believed
--------------------
A driver that breaks says nothing: when a JACK server dies in a take, there is no flag and no
exception, the callbacks just stop, and every further call into the driver may hang for ever. So
all calls into PortAudio are made by one thread of their own (`_DriverThread`) and waited for with
a time limit, and a take in which no callback came for `STALL_SECONDS` is over. A latency that
the driver reports is not used at all: it is measured.

PortAudio knows the devices of the moment in which it was initialised, so it is initialised for
each use and given back after. Once it hangs it cannot be given back: this process makes no
further take, and can still exit.
"""

import atexit
import contextlib
import difflib
import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from profiler.errors import InterfaceError
from profiler.rig.interface import OnBlock, StreamReport, Watch
from profiler.rig.rig import PortAudioInterface, Rig, recorded_channels
from profiler.rig.transport import Transport, Worker
from profiler.stimulus.plan import SAMPLE_RATES

Direction = Literal["send", "return"]

STALL_SECONDS = 1.5  # without a callback: the largest blocks in use last 0.2 s
POLL_SECONDS = 0.02
OPEN_LIMIT_SECONDS = 10.0  # some ASIO drivers take seconds to wake
STOP_LIMIT_SECONDS = 2.0
STALLED_STOP_LIMIT_SECONDS = 0.3  # a driver that stalled nearly never answers
FADE_LIMIT_SECONDS = 0.5
FEEDER_PATIENCE_SECONDS = 0.5  # it ends by itself, unless the stimulus does not come
WRITER_PATIENCE_SECONDS = 10.0  # for a single block: a disk may have to wake

LIVE_BLOCK = 64  # frames, where neither the player nor a JACK server says it

# The interpreter hands over between threads every 5 ms, as long as a whole block at 48 kHz.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class Device:
    """An audio device as PortAudio lists it."""

    name: str
    host_api: str
    inputs: int  # channels
    outputs: int
    default_sample_rate: int
    sample_rates: tuple[int, ...] = ()  # of `plan.SAMPLE_RATES`, those that it takes

    def __str__(self) -> str:
        return f"{self.name}, {self.host_api}"

    def channels(self, direction: Direction) -> int:
        """Outputs for the send, inputs for the return."""
        return self.outputs if direction == "send" else self.inputs


def devices() -> list[Device]:
    """Every device there is now, with the sample rates that it takes.

    Raises
    ------
    InterfaceError
        PortAudio is not installed, or does not answer.
    """
    with _portaudio() as driver:
        return driver.call(_probed, driver.sounddevice)


def version() -> str:
    """PortAudio's version, in its own words.

    Raises
    ------
    InterfaceError
        PortAudio is not installed, or does not answer.
    """
    with _portaudio() as driver:
        return str(driver.call(driver.sounddevice.get_portaudio_version)[1])


class PortAudio:
    """The way to a device through a real interface.

    Raises
    ------
    InterfaceError
        PortAudio is missing, the device is unknown or ambiguous, has too few channels, or
        refuses the sample rate.
    """

    def __init__(self, rig: Rig):
        if not isinstance(rig.interface, PortAudioInterface):
            raise ValueError(f"rig {rig.name!r} is not a PortAudio rig, got {rig.interface.driver}")
        self._interface = rig.interface
        self._ceiling_dbfs = rig.maximum_send_dbfs
        self.sample_rate = rig.interface.sample_rate
        self.channels = len(recorded_channels(rig.interface))
        with _portaudio() as driver:
            driver.call(_Route.find, driver.sounddevice, self._interface)

    def play_record(
        self,
        stimulus: Iterable[np.ndarray],
        frames: int,
        on_block: OnBlock,
        watch: Watch | None = None,
    ) -> StreamReport:
        """Play and record; see `interface.Interface`.

        Raises
        ------
        InterfaceError
            As for the constructor; or the driver stalled (no callback for 1.5 s). What was
            recorded until then has been handed over.
        Dropout
            The stimulus did not come, or the recording was not taken, as fast as the
            interface runs; the sound was faded out.
        SafetyStop, KeyboardInterrupt
            As in `interface.Interface`. What `on_block`, `stimulus` or `watch` raise ends the
            take with a fade, and is raised here.
        """
        transport = Transport(
            frames,
            self.sample_rate,
            self._ceiling_dbfs,
            send=self._interface.send_channel - 1,
            returns=[channel - 1 for channel in recorded_channels(self._interface)],
            watch=watch,
        )
        with _interrupts_held() as interrupted, _attentive_interpreter():
            feeder = Worker("stimulus feeder", transport.feed, stimulus)
            try:
                while not (transport.ready or transport.failure or interrupted):
                    time.sleep(POLL_SECONDS)
                _raise_what_ended_it(transport, interrupted)
                with _portaudio() as driver:
                    report = self._take(driver, transport, on_block, interrupted)
                _raise_what_ended_it(transport, interrupted)
                return report
            finally:
                transport.stop()
                feeder.finish(lambda: transport.loaded, FEEDER_PATIENCE_SECONDS)

    def _take(self, driver, transport, on_block, interrupted):
        route = driver.call(_Route.find, driver.sounddevice, self._interface)
        stream = driver.call(route.open, driver.sounddevice, transport.callback)
        writer = Worker("response writer", transport.write, on_block)
        stalled = None
        try:
            driver.call(route.start, driver.sounddevice, stream)
            self._watch(driver, stream, transport, interrupted)
        except _Hung:
            stalled = transport.played
        finally:
            notes = _end(driver, stream, transport, writer, stalled is not None)
        if stalled is not None and transport.failure is None:
            raise InterfaceError(
                f"{route}: the audio stopped coming at {stalled / self.sample_rate:.2f} s of "
                f"{transport.frames / self.sample_rate:.2f} s: see that the interface is plugged "
                "in and its driver or server runs, then take it again"
            )
        seen = transport.observations()
        return StreamReport(
            driver="portaudio",
            device=str(route),
            sample_rate=self.sample_rate,
            frames=seen.frames,
            blocks=seen.blocks,
            block_sizes=seen.block_sizes,
            flagged=seen.flagged,
            notes=seen.notes + notes,
        )

    def _watch(self, driver, stream, transport, interrupted):
        """Wait for the end of the sound; `_Hung` when the driver stalls before it."""
        pulse = _Pulse(driver, stream, transport.ticks)
        while not transport.silent:
            time.sleep(POLL_SECONDS)
            if interrupted:
                transport.stop()
            pulse.feel(transport.ticks)


def _raise_what_ended_it(transport, interrupted):
    if transport.failure is not None:
        raise transport.failure
    if interrupted:
        raise KeyboardInterrupt


class LiveCallback(Protocol):
    """Native code that plays, and what must be known of it to begin and end."""

    @property
    def callback_address(self) -> int: ...

    @property
    def address(self) -> int: ...

    @property
    def blocks(self) -> int: ...

    @property
    def silent(self) -> bool: ...

    def fade_out(self) -> None: ...


class LivePortAudio:
    """The way to play live through a real interface.

    Of the interface's `block_size`, 0 means 64 frames, or what a JACK server says: another number
    than the server's own would add so many samples to the round trip.

    Attributes
    ----------
    device : str
        Both devices, where they are two.
    inputs, outputs : int
        Channels of the buffers that the callback is given.

    Raises
    ------
    InterfaceError
        As for `PortAudio`.
    """

    def __init__(self, interface: PortAudioInterface):
        self._interface = interface
        with _portaudio() as driver:
            route = driver.call(_Route.find, driver.sounddevice, interface)
        self.device = str(route)
        self.inputs, self.outputs = route.channels

    def run(self, live: LiveCallback, look: Callable[[], bool]) -> None:
        """Play until `look`, called every 20 ms, is no longer True, or the sound has ended itself.

        Raises
        ------
        InterfaceError
            The stream cannot be opened, or the driver stalled.
        KeyboardInterrupt
            Ctrl-C: the sound was faded out. What `look` raises also ends it with a fade.
        """
        stalled = False
        with _interrupts_held() as interrupted, _portaudio() as driver:
            route = driver.call(_Route.find, driver.sounddevice, self._interface)
            stream = driver.call(route.open_live, driver.sounddevice, live)
            try:
                driver.call(route.start, driver.sounddevice, stream)
                pulse = _Pulse(driver, stream, live.blocks)
                while not (interrupted or live.silent) and look():
                    time.sleep(POLL_SECONDS)
                    pulse.feel(live.blocks)
            except _Hung:
                stalled = True
            finally:
                if not stalled:
                    live.fade_out()
                    _wait_until(lambda: live.silent, FADE_LIMIT_SECONDS)
                if not _let_go(driver, stream, stalled):
                    _played_for_ever.append(live)  # its callback may come back to life
        if stalled:
            raise InterfaceError(
                f"{route}: the audio stopped coming after {live.blocks} blocks: see that the "
                "interface is plugged in and its driver or server runs, then play again"
            )
        if interrupted:
            raise KeyboardInterrupt


_played_for_ever: list[LiveCallback] = []


def choose_device(
    listed: Sequence[Device],
    name: str,
    host_api: str | None,
    direction: Direction,
    channels: int = 1,
) -> int:
    """Position in `listed` of the one device that `name` and `host_api` mean.

    The exact name goes before a part of it, and capitals do not matter.

    Raises
    ------
    InterfaceError
        No such device, or more than one (those that match are listed), or it has fewer than
        `channels` channels in this direction.
    """
    able = [i for i, device in enumerate(listed) if device.channels(direction)]
    kind = "playback" if direction == "send" else "recording"
    if host_api is not None:
        apis = sorted({device.host_api for device in listed})
        wanted = set(_named(host_api, apis))
        if not wanted:
            raise InterfaceError(
                f"no host API is named {host_api!r}: there are {', '.join(apis) or 'none'}"
            )
        able = [i for i in able if listed[i].host_api in wanted]

    found = [able[match] for match in _matches(name, [listed[i].name for i in able])]
    if not found:
        raise InterfaceError(_no_device(name, kind, [listed[i] for i in able], listed))
    if len(found) > 1:
        several = "; ".join(str(listed[i]) for i in found)
        raise InterfaceError(
            f"{len(found)} {kind} devices match {name!r}: {several}: give more of the name, or "
            "host_api to tell them apart"
        )
    device = listed[found[0]]
    if device.channels(direction) < channels:
        raise InterfaceError(
            f"{device} has {device.channels(direction)} {kind} channels, the rig asks for channel "
            f"{channels}: correct {direction}_channel"
            + (", loopback_channel or di_channel" if direction == "return" else "")
        )
    return found[0]


def _matches(name, names):
    """Positions of the names that are `name`, or else of those that contain it."""
    folded = [candidate.casefold() for candidate in names]
    exact = [i for i, candidate in enumerate(folded) if candidate == name.casefold()]
    return exact or [i for i, candidate in enumerate(folded) if name.casefold() in candidate]


def _named(name, names):
    return [names[i] for i in _matches(name, names)]


def _no_device(name, kind, able, listed):
    if not able:
        there_are = "; ".join(str(device) for device in listed) or "none"
        return f"no {kind} device is there, looking for {name!r}: the devices are {there_are}"
    if _matches(name, [device.name for device in listed]):
        other = "return_device" if kind == "recording" else "device"
        hint = f"{name!r} has no {kind} channels: name another in {other}"
    else:
        hint = f"no {kind} device is named {name!r}"
    near = difflib.get_close_matches(name, [device.name for device in able], n=4, cutoff=0.5)
    shown = [device for device in able if device.name in near] or able
    return f"{hint}: there are {'; '.join(str(device) for device in shown)}"


# -- in the driver's thread -------------------------------------------------------------


@dataclass(frozen=True)
class _Route:
    """The devices of a rig, as PortAudio numbers them at this moment."""

    send: Device
    back: Device
    indices: tuple[int, int]  # recording, playback
    channels: tuple[int, int]
    sample_rate: int
    block_size: int

    def __str__(self) -> str:
        return str(self.send) if self.send == self.back else f"{self.send} -> {self.back}"

    @classmethod
    def find(cls, sd, interface):
        listed = _listed(sd)
        outputs, inputs = interface.send_channel, max(recorded_channels(interface))
        name = interface.return_device or interface.device
        play = choose_device(listed, interface.device, interface.host_api, "send", outputs)
        record = choose_device(listed, name, interface.host_api, "return", inputs)
        send, back = listed[play], listed[record]
        if send.host_api != back.host_api:
            raise InterfaceError(
                f"{send} and {back} are of different host APIs and cannot run together: name "
                "one in host_api"
            )
        # Some drivers play a mono stream on the first two channels, or mix two into one.
        channels = (max(inputs, min(2, back.inputs)), max(outputs, min(2, send.outputs)))
        route = cls(
            send, back, (record, play), channels, interface.sample_rate, interface.block_size
        )
        route._check_rate(sd)
        return route

    def _check_rate(self, sd):
        for device, index, channels, check in (
            (self.send, self.indices[1], self.channels[1], sd.check_output_settings),
            (self.back, self.indices[0], self.channels[0], sd.check_input_settings),
        ):
            if _takes(sd, check, index, channels, self.sample_rate):
                continue
            taken = [r for r in SAMPLE_RATES if _takes(sd, check, index, channels, r)]
            if not taken:
                raise InterfaceError(
                    f"{device} refuses every sample rate with {channels} channels: close what "
                    "else uses it, or choose another host_api"
                )
            raise InterfaceError(
                f"{device} does not take {self.sample_rate} Hz: it takes "
                f"{', '.join(map(str, taken))} Hz; set the rig's sample_rate, or the interface"
            )

    def open(self, sd, callback):
        try:
            return sd.Stream(
                samplerate=self.sample_rate,
                blocksize=self.block_size,
                device=self.indices,
                channels=self.channels,
                dtype="float32",
                latency="high",  # is measured, and does not matter in a take
                dither_off=True,
                callback=callback,
            )
        except (sd.PortAudioError, ValueError) as error:
            raise self._not_opened(error) from None

    def open_live(self, sd, live):
        block = self.block_size
        if not block and not self.send.host_api.startswith("JACK"):
            block = LIVE_BLOCK
        try:
            return sd._StreamBase(  # made for callbacks in C
                "duplex",
                samplerate=self.sample_rate,
                blocksize=block,
                device=self.indices,
                channels=self.channels,
                dtype="float32",
                latency="low",
                dither_off=True,
                callback=live.callback_address,
                userdata=sd._ffi.cast("void *", live.address),
            )
        except (sd.PortAudioError, ValueError) as error:
            raise self._not_opened(error) from None

    def _not_opened(self, error):
        return InterfaceError(
            f"{self}: the stream cannot be opened ({_one_line(error)}): close what else uses "
            "the interface, then try again"
        )

    def start(self, sd, stream):
        try:
            stream.start()
        except sd.PortAudioError as error:
            raise InterfaceError(
                f"{self}: the stream cannot be started ({_one_line(error)}): close what else uses "
                "the interface, then try again"
            ) from None


def _listed(sd):
    apis = [api["name"] for api in sd.query_hostapis()]
    return [
        Device(
            name=found["name"],
            host_api=apis[found["hostapi"]],
            inputs=found["max_input_channels"],
            outputs=found["max_output_channels"],
            default_sample_rate=round(found["default_samplerate"]),
        )
        for found in sd.query_devices()
    ]


def _probed(sd):
    return [_with_rates(sd, index, device) for index, device in enumerate(_listed(sd))]


def _with_rates(sd, index, device):
    checks = [
        (check, channels)
        for check, channels in (
            (sd.check_output_settings, min(2, device.outputs)),
            (sd.check_input_settings, min(2, device.inputs)),
        )
        if channels
    ]
    rates = tuple(
        rate
        for rate in SAMPLE_RATES
        if checks and all(_takes(sd, check, index, channels, rate) for check, channels in checks)
    )
    return Device(
        device.name,
        device.host_api,
        device.inputs,
        device.outputs,
        device.default_sample_rate,
        rates,
    )


def _takes(sd, check, index, channels, sample_rate):
    try:
        check(device=index, channels=channels, dtype="float32", samplerate=sample_rate)
    except sd.PortAudioError:
        return False
    return True


def _active(stream):
    return stream.active


def _one_line(error):
    return " ".join(str(error).split())


# -- around the driver's thread ---------------------------------------------------------


class _Hung(Exception):
    """PortAudio did not come back from a call."""


class _DriverThread:
    """The one thread that calls into PortAudio, since any of its calls may hang for ever.

    All calls come from the same thread, as some Windows drivers ask for. It is a daemon: a
    call that hangs keeps nobody else from going on, nor the process from exiting.
    """

    sounddevice: Any  # the module, once it is initialised

    def __init__(self):
        self.hung = False
        self._asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="PortAudio", daemon=True).start()

    def call(self, function: Callable, *arguments, limit: float = OPEN_LIMIT_SECONDS) -> Any:
        """`function(*arguments)`, as a plain call would have it.

        Raises
        ------
        _Hung
            It took longer than `limit` seconds, or an earlier call did.
        """
        if self.hung:
            raise _Hung
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked.put((function, arguments, answer))
        try:
            result, error = answer.get(timeout=limit)
        except queue.Empty:
            self.hung = True
            raise _Hung from None
        if error is not None:
            raise error
        return result

    def end(self):
        self._asked.put(None)

    def _serve(self):
        while (asked := self._asked.get()) is not None:
            function, arguments, answer = asked
            try:
                answer.put((function(*arguments), None))
            except BaseException as error:
                answer.put((None, error))


_hung_before = False  # in this process: PortAudio is stuck for good


@contextlib.contextmanager
def _portaudio() -> Iterator[_DriverThread]:
    """PortAudio, initialised: it knows the devices of now, and is given back after."""
    global _hung_before
    if _hung_before:
        raise InterfaceError(
            "the audio driver hung before and is still stuck: start the program again"
        )
    driver = _DriverThread()
    try:
        driver.sounddevice = driver.call(_initialised)
        yield driver
    except _Hung:
        raise InterfaceError(
            f"the audio driver did not answer within {OPEN_LIMIT_SECONDS:g} s: see that its server "
            "runs and the interface is plugged in, then start the program again"
        ) from None
    finally:
        with contextlib.suppress(_Hung):
            driver.call(_terminated, limit=STOP_LIMIT_SECONDS)
        _hung_before = driver.hung
        driver.end()


def _initialised():
    if sys.platform == "win32":
        os.environ.setdefault("SD_ENABLE_ASIO", "1")  # sounddevice leaves ASIO out otherwise
    first = "sounddevice" not in sys.modules
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise InterfaceError(
            f"PortAudio cannot be loaded ({_one_line(error)}): install it (Debian: apt install "
            "libportaudio2; macOS: brew install portaudio), then try again"
        ) from None
    except Exception as error:  # its import initialises, and the error's class is not there yet
        raise InterfaceError(f"PortAudio cannot be initialised: {_one_line(error)}") from None
    if first:
        # It would terminate PortAudio while the process exits, and that may hang for ever.
        atexit.unregister(sounddevice._exit_handler)
    elif not sounddevice._initialized:
        try:
            sounddevice._initialize()
        except sounddevice.PortAudioError as error:
            raise InterfaceError(f"PortAudio cannot be initialised: {_one_line(error)}") from None
    return sounddevice


def _terminated():
    sounddevice = sys.modules.get("sounddevice")
    while sounddevice is not None and sounddevice._initialized:
        sounddevice._terminate()


def _end(driver, stream, transport, writer, stalled):
    """Fade out, let go of the stream, hand over what is left; never hangs.

    Returns notes for the report.
    """
    if not stalled:
        transport.stop()
        _wait_until(lambda: transport.silent, FADE_LIMIT_SECONDS)
    transport.silent = True  # should the driver come back to life
    notes = ()
    if not _let_go(driver, stream, stalled):
        notes = ("the driver did not let go of the stream after the take",)
    transport.close()
    if not writer.finish(lambda: transport.handed, WRITER_PATIENCE_SECONDS):
        transport.fail(
            InterfaceError(
                f"the recording was not written for {WRITER_PATIENCE_SECONDS:g} s: see that the "
                "disk answers, then take it again"
            )
        )
    return notes


def _wait_until(true, limit_seconds):
    until = time.monotonic() + limit_seconds
    while not true() and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _let_go(driver, stream, stalled):
    """Whether the driver gave the stream back."""
    limit = STALLED_STOP_LIMIT_SECONDS if stalled else STOP_LIMIT_SECONDS
    try:
        driver.call(stream.stop, limit=limit)
        driver.call(stream.close, limit=limit)
    except _Hung:
        return False
    return True


class _Pulse:
    """Whether the driver still calls back."""

    def __init__(self, driver, stream, beats):
        self._driver, self._stream = driver, stream
        self._beats, self._quiet, self._before = beats, 0.0, time.monotonic()

    def feel(self, beats):
        """`_Hung` when there was no beat for too long."""
        now = time.monotonic()
        if beats != self._beats:
            self._beats, self._quiet = beats, 0.0
        else:
            # A poll that comes late itself proves nothing about the driver.
            self._quiet += min(now - self._before, 5 * POLL_SECONDS)
            active = self._driver.call(_active, self._stream, limit=STALL_SECONDS)
            if self._quiet > STALL_SECONDS or not active:
                raise _Hung
        self._before = now


@contextlib.contextmanager
def _interrupts_held() -> Iterator[list[int]]:
    """Ctrl-C goes into the list, so that it cannot cut the fade or the hand-over short."""
    pressed: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield pressed  # whoever handles it raises KeyboardInterrupt where we wait
        return
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _attentive_interpreter() -> Iterator[None]:
    """Python hands over to the callback soon, and collects only what the take itself leaves."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)

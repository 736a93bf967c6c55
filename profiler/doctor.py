"""The doctor: is this machine fit for a profile, and is the interface a wire?

The machine is asked what it has, and timed in a real training. The interface is proven by 20 s
through a cable from its output to its input: everything that is not a wire is the interface's own,
and is kept as its fingerprint. A shorter signal follows, to hear whether the latency repeats from
one opening to the next, and whether samples are lost while every core of the machine is busy.
"""

import contextlib
import dataclasses
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

import profiler
from profiler.capture import loop
from profiler.capture.alignment import align
from profiler.capture.calibration import send_dbu_at_full_scale
from profiler.capture.calibration.simulated import looped
from profiler.capture.checks import interface as interface_checks
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.safety import Announcement, announce
from profiler.definitions import Record, user_data_folder
from profiler.errors import CaptureError, InterfaceError, NotAligned
from profiler.rig.interface import Interface, StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan, load_signal
from profiler.stimulus.synthesis import render

Status = Literal["ok", "warn", "fail"]
OnProgress = Callable[[float, str], None]  # how far, from 0 to 1, and with what

OLDEST_PYTHON = (3, 11)
DISK_WARN_BYTES = 2_000_000_000  # some tens of captures with their models
DISK_FAIL_BYTES = 200_000_000  # one capture
SLOW_MINUTES = 10.0  # for the quality that docs/models.md states
LATENCY_TAKES = 3  # beside the loop itself
LARGEST_DRIFT_PPM = 0.2  # of one clock; 1 ppm is 9 samples in three minutes
LARGEST_SPREAD_SAMPLES = 0.05  # a stable driver repeats to 1e-3; whole samples apart is a fault

# Steps after which the simulated tweed is learned as well as docs/models.md says.
STEPS = {"nano": 500, "feather": 390, "lite": 252, "standard": 432}


class Item(Record):
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    reason: str = ""  # why it is not well, and what to do


class TrainingForecast(Record):
    """How long an architecture takes to be trained here."""

    architecture: str
    samples_per_second: float
    minutes: float  # for the quality that docs/models.md states
    steps_in_default_time: int  # of `--minutes`, as it is when nothing is said


class MachineReport(Record):
    """What this machine has."""

    items: tuple[Item, ...]
    training: tuple[TrainingForecast, ...]


class LoopReport(Record):
    """What a loop take said of an interface."""

    fingerprint: loop.Fingerprint
    items: tuple[Item, ...]  # what the openings beside the loop take said
    findings: tuple[Finding, ...]


class DoctorReport(Record):
    """All of it, as `--json` shows it."""

    schema_: Literal["ampscope.doctor/1"] = Field(default="ampscope.doctor/1", alias="schema")
    software_version: str = profiler.__version__
    passed: bool
    machine: MachineReport
    loop: LoopReport | None


def report(machine: MachineReport, proven: LoopReport | None = None) -> DoctorReport:
    """Passed is what has no failed item and no finding that stops."""
    items = [*machine.items, *(proven.items if proven else ())]
    stops = [f for f in (proven.findings if proven else ()) if f.severity == "stop"]
    passed = not stops and not any(item.status == "fail" for item in items)
    return DoctorReport(passed=passed, machine=machine, loop=proven)


def examine_machine(
    rig: Rig | None = None, *, folder: Path = Path(), loop_follows: bool = False
) -> MachineReport:
    """Look at this machine, and at the ceiling and fingerprint of a rig.

    Parameters
    ----------
    rig : Rig, optional
        Whose ceiling and fingerprint are told too.
    folder : Path
        Where captures will go: its disk is looked at.
    loop_follows : bool
        The interface is about to be proven: the fingerprint that is known now does not matter.
    """
    torch_item, training = _torch()
    items = [_python(), _platform(), *_audio(), torch_item, _disk(folder), _data_folder()]
    if rig is not None:
        items.append(_ceiling(rig))
        if rig.interface.driver != "file" and not loop_follows:
            items.append(_known_loop(rig))
    return MachineReport(items=tuple(items), training=training)


def cabled(rig: Rig) -> Rig:
    """The rig with a cable in place of its device; of real hardware the cable is the user's work.

    What protects an amp and its speaker (seconds at power, tones, low frequencies) has no meaning
    for a cable; the ceilings of the level stay, as a cable may be forgotten.
    """
    limits = dict.fromkeys(("maximum_full_power_seconds", "maximum_tone_duty", "lowest_sweep_hz"))
    return looped(rig).model_copy(update=limits)


def loop_plan(rig: Rig) -> SignalPlan:
    """The signal `loop` at the rig's rate, as loud as its ceilings allow."""
    return _under_ceiling(rig, "loop")


def announce_loop(rig: Rig) -> Announcement:
    """What `examine_loop` will play, for a person to confirm: all of it as one."""
    plan = loop_plan(rig)
    seconds = plan.seconds + LATENCY_TAKES * _under_ceiling(rig, "latency").seconds
    announcement = announce(rig, plan, send_dbu_at_full_scale(rig))
    return dataclasses.replace(announcement, seconds=seconds)


def examine_loop(
    rig: Rig, interface: Interface, *, on_progress: OnProgress | None = None
) -> LoopReport:
    """Prove an interface by what comes back through a cable from its send to its return.

    Parameters
    ----------
    rig : Rig
        Whose interface it is, `cabled`.
    interface : Interface
        Open; it is opened once more for every take.
    on_progress : callable, optional
        Told how far it is.

    Raises
    ------
    NotAligned, Silent
        What came back is not the stimulus behind one delay: the cable is elsewhere, or the
        interface loses samples even at rest.
    InterfaceError, SafetyStop
        As in `Interface.play_record`.
    """
    plan = loop_plan(rig)
    announce_loop(rig)
    tell = on_progress or (lambda fraction, detail: None)
    total = plan.seconds + LATENCY_TAKES * _under_ceiling(rig, "latency").seconds

    stimulus = render(plan)
    tell(0.0, "the loop, at rest")
    recorded, stream = _played(
        interface, stimulus, lambda s: tell(s / total, "the loop, at rest"), plan.sample_rate
    )
    evidence = _evidence(rig, plan, stimulus, recorded, stream)
    findings = tuple(interface_checks.findings(evidence))
    measures = loop.measure_loop(plan, stimulus, evidence.response)
    items, round_trips = _openings(
        rig, interface, lambda s, detail: tell((plan.seconds + s) / total, detail)
    )
    loopback_gain = (
        None if evidence.loopback is None else loop.gain_db(plan, stimulus, evidence.loopback)
    )
    fingerprint = loop.fingerprint_of(
        rig,
        measures,
        loopback_gain_db=loopback_gain,
        round_trips_samples=(measures.delay_samples, *round_trips),
    )
    return LoopReport(
        fingerprint=fingerprint,
        items=(_spread(fingerprint), _clock(fingerprint), _polarity(fingerprint), *items),
        findings=findings,
    )


@contextlib.contextmanager
def busy_machine() -> Iterator[list[subprocess.Popen]]:
    """Every core occupied by a process of its own, as by a browser or a render."""
    cores = os.cpu_count() or 1
    spin = "while True: pass"
    processes = [subprocess.Popen([sys.executable, "-S", "-c", spin]) for _ in range(cores)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _openings(rig, interface, tell):
    """Further openings of the interface, the last with the machine busy.

    Returns
    -------
    items, and the round trip of every opening in samples
    """
    plan = _under_ceiling(rig, "latency")
    stimulus = render(plan)
    items, round_trips = [], []
    for number in range(LATENCY_TAKES):
        is_busy = number == LATENCY_TAKES - 1
        detail = "the latency, machine busy" if is_busy else "the latency again"
        before = number * plan.seconds
        try:
            with busy_machine() if is_busy else contextlib.nullcontext():
                recorded, _ = _played(
                    interface,
                    stimulus,
                    lambda s, b=before, d=detail: tell(b + s, d),
                    plan.sample_rate,
                )
            alignment = align(plan, stimulus, recorded[:, 0], loopback=recorded[:, 0])
            round_trips.append(alignment.delay_samples)
        except (NotAligned, InterfaceError) as error:
            if not is_busy:
                raise
            items.append(Item(name="under load", status="fail", found="slips", reason=str(error)))
        else:
            if is_busy:
                found = f"no sample lost in {plan.seconds:.0f} s with every core busy"
                items.append(Item(name="under load", status="ok", found=found))
    return items, round_trips


def _spread(fingerprint):
    spread = fingerprint.latency_spread_samples
    count = len(fingerprint.round_trips_samples)
    found = f"{spread:.4f} samples over {count} openings"
    if spread <= LARGEST_SPREAD_SAMPLES:
        return Item(name="latency spread", status="ok", found=found)
    return Item(
        name="latency spread",
        status="warn",
        found=found,
        reason=f"at most {LARGEST_SPREAD_SAMPLES} expected: wire a loopback channel, which "
        "measures it in every take, or fix the block size",
    )


def _clock(fingerprint):
    if fingerprint.drift_ppm is None or abs(fingerprint.drift_ppm) <= LARGEST_DRIFT_PPM:
        return Item(name="clock", status="ok", found="one for send and return")
    return Item(
        name="clock",
        status="fail",
        found=f"{fingerprint.drift_ppm:+.2f} ppm between send and return",
        reason=f"at most {LARGEST_DRIFT_PPM} expected: use one interface for both, or a shared "
        "word clock",
    )


def _polarity(fingerprint):
    if fingerprint.polarity > 0:
        return Item(name="polarity", status="ok", found="as sent")
    return Item(
        name="polarity",
        status="warn",
        found="inverted",
        reason="of a cable it should not be: one of its plugs or a switch swaps hot and cold",
    )


def _under_ceiling(rig, name):
    plan = load_signal(name).plan(rig.interface.sample_rate)
    ceilings = [rig.maximum_send_dbfs]
    full_scale_dbu = send_dbu_at_full_scale(rig)
    if rig.maximum_send_dbu is not None and full_scale_dbu is not None:
        ceilings.append(rig.maximum_send_dbu - full_scale_dbu)
    over = plan.peak_dbfs - min(ceilings)
    return plan.model_copy(update={"gain_db": -over}) if over > 0.0 else plan


def _played(interface, stimulus, tell, rate):
    """What came back, `(n, channels)` float64, and the report of the stream."""
    blocks: list[np.ndarray] = []

    def keep(block):
        blocks.append(block.samples.copy())
        tell((block.frame + len(block.samples)) / rate)

    stream = interface.play_record([stimulus], len(stimulus), keep)
    return np.concatenate(blocks).astype(np.float64), stream


def _evidence(rig, plan, stimulus, recorded, stream: StreamReport):
    has_loop = rig.interface.loopback_channel is not None
    return Evidence(
        plan=plan,
        stimulus=stimulus.astype(np.float64),
        response=recorded[:, 0],
        loopback=recorded[:, 1] if has_loop else None,
        is_loop=True,
        stream=stream,
        fingerprint=_fingerprint_before(rig),
    )


def _fingerprint_before(rig):
    """To compare with; one that cannot be used is about to be replaced."""
    try:
        return loop.stored(rig)
    except CaptureError:
        return None


def _python():
    found = platform.python_version()
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Item(name="Python", status="ok", found=found)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Item(name="Python", status="fail", found=found, reason=f"{oldest} or newer expected")


def _platform():
    found = f"{platform.platform(terse=True)}, {os.cpu_count()} cores"
    return Item(name="platform", status="ok", found=found)


def _audio():
    """PortAudio and the devices it sees."""
    # sounddevice is loaded only when it is looked at: a machine without it does all the rest
    from profiler.rig import portaudio

    try:
        version, devices = portaudio.version(), portaudio.devices()
    except InterfaceError as error:
        yield Item(
            name="PortAudio",
            status="warn",
            found="not there",
            reason=f"{error} (simulated rigs and recorded pairs need none)",
        )
        return
    yield Item(name="PortAudio", status="ok", found=version)
    if not devices:
        yield Item(
            name="devices",
            status="warn",
            found="none",
            reason="connect an interface, or start its sound server; simulated rigs need none",
        )
        return
    apis = sorted({device.host_api for device in devices})
    names = "; ".join(device.name for device in devices)
    yield Item(name="devices", status="ok", found=f"{names} ({', '.join(apis)})")


def _torch():
    """Torch, and how fast it trains."""
    try:
        # the one import here that takes seconds, and fails where torch was installed badly
        from profiler.model.rate import measure_rate, torch_summary
        from profiler.model.training import TrainingOptions
    except (ImportError, OSError) as error:
        reason = f"{error}: install it as the README says; nothing can be trained without it"
        return Item(name="torch", status="fail", found="not there", reason=reason), ()
    options = TrainingOptions()
    step = options.batch * options.window
    forecasts = []
    for architecture, steps in STEPS.items():
        rate = measure_rate(architecture)
        forecasts.append(
            TrainingForecast(
                architecture=architecture,
                samples_per_second=rate,
                minutes=steps * step / rate / 60,
                steps_in_default_time=int(60 * (options.minutes or 0.0) * rate / step),
            )
        )
    standard = forecasts[-1]
    found = f"{torch_summary()}, {standard.samples_per_second / 1000:.0f} thousand samples a second"
    if standard.minutes <= SLOW_MINUTES:
        return Item(name="torch", status="ok", found=found), tuple(forecasts)
    reason = (
        f"a standard model takes {standard.minutes:.0f} minutes, {SLOW_MINUTES:g} expected: close "
        "other programs, or train with --architecture feather"
    )
    return Item(name="torch", status="warn", found=found, reason=reason), tuple(forecasts)


def _disk(folder):
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free under {folder.resolve()}"
    if free >= DISK_WARN_BYTES:
        return Item(name="disk", status="ok", found=found)
    status: Status = "warn" if free >= DISK_FAIL_BYTES else "fail"
    reason = f"{DISK_WARN_BYTES / 1e9:g} GB expected: make room, or choose another disk with -o"
    return Item(name="disk", status=status, found=found, reason=reason)


def _data_folder():
    """Where calibrations and fingerprints go: it must take files."""
    folder = user_data_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot be written ({error.strerror}): set AMPSCOPE_HOME to a folder that can"
        return Item(name="data folder", status="fail", found=str(folder), reason=reason)
    return Item(name="data folder", status="ok", found=str(folder))


def _ceiling(rig):
    found = f"{rig.maximum_send_dbfs:g} dBFS"
    if rig.interface.driver == "portaudio" and rig.maximum_send_dbfs > -1.0:
        return Item(
            name="ceiling",
            status="warn",
            found=found,
            reason="full scale of a line output is far above a guitar: lower maximum_send_dbfs "
            "until the amp's input is calibrated",
        )
    return Item(name="ceiling", status="ok", found=found)


def _known_loop(rig):
    try:
        known = loop.stored(rig)
    except CaptureError as error:
        return Item(name="fingerprint", status="warn", found="unusable", reason=str(error))
    if known is None:
        return Item(
            name="fingerprint",
            status="warn",
            found="none",
            reason=f"the interface is not proven yet: ampscope doctor {rig.name} --loop",
        )
    found = f"of {known.created_utc:%Y-%m-%d %H:%M} UTC"
    return Item(name="fingerprint", status="ok", found=found)

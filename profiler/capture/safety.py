"""What is said, and checked, before the first sound.

This program drives tube amps and ears. Nothing is played that lies above one of the rig's
ceilings: it is refused, never limited, because a limiter would alter the test signal. A
program cannot see whether a speaker or load is attached; it can only say so, and ask.

Conventions
-----------
Everything is known from the plan. Levels are peaks in dBFS; *full power* is within 6 dB of the
rig's ceiling, and a *loud tone* one above 12 dB below it. The limits of time that a rig does not
state hold where the sound is real: a simulation does not get hot.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from profiler.errors import SafetyStop
from profiler.rig.rig import PortAudioInterface, Rig, recorded_channels
from profiler.stimulus.plan import (
    MARKER_CODE_SECONDS,
    PROBE_TONE_SECONDS,
    Segment,
    SignalPlan,
)

CEILING_TOLERANCE_DB = 1e-4  # float32 rounding of a peak that sits at the ceiling

FULL_POWER_DB = -6.0  # re the ceiling
LOUD_TONE_DB = -12.0  # re the ceiling

# Where a rig says nothing else. The longest shipped signal is 83 s at full power; the sweep, played
# at the ceiling, is a loud tone for 0.64 of its take.
MAXIMUM_FULL_POWER_SECONDS = 180.0
MAXIMUM_TONE_DUTY = 0.7
LOWEST_SWEEP_HZ = 20.0

LARGEST_JUMP_DB = 12.0  # that a level may rise above everything before it


@dataclass(frozen=True)
class Jump:
    """A segment that is much louder than everything before it."""

    segment: str
    rise_db: float

    def __str__(self) -> str:
        return (
            f"{self.segment} is {self.rise_db:.0f} dB louder than all before it: put something "
            f"between, so that no step is above {LARGEST_JUMP_DB:g} dB"
        )


@dataclass(frozen=True)
class Announcement:
    """What is about to sound, for a person to confirm."""

    rig: str
    device: str
    send_channel: int
    return_channels: tuple[int, ...]
    signal: str
    peak_dbfs: float
    peak_dbu: float | None  # of a sine with that peak; None where the send is not calibrated
    ceiling_dbfs: float
    seconds: float
    full_power_seconds: float
    tone_duty: float  # share of the time in which a loud tone plays
    jump: Jump | None
    audible: bool  # whether real hardware will move
    conditions: str  # of the rig as it stands, for the session to know it again

    def lines(self) -> tuple[str, ...]:
        """The announcement in words."""
        dbu = "" if self.peak_dbu is None else f", {self.peak_dbu:.1f} dBu"
        returns = " and ".join(map(str, self.return_channels))
        lines = (
            f"rig {self.rig}: {self.signal} through {self.device}, output channel "
            f"{self.send_channel}, input channel {returns}",
            f"peak {self.peak_dbfs:.1f} dBFS{dbu} (ceiling {self.ceiling_dbfs:g} dBFS), "
            f"{self.seconds:.0f} s, {self.full_power_seconds:.0f} s of them at full power, loud "
            f"tones {100 * self.tone_duty:.0f} % of the time",
        )
        return lines if self.jump is None else (*lines, str(self.jump))


@dataclass(frozen=True)
class LiveAnnouncement:
    """That an instrument is about to be heard, for a person to confirm."""

    what: str
    device: str
    input_channel: int
    output_channels: tuple[int, ...]
    ceiling_dbfs: float
    seconds: float | None  # None: until it is ended
    conditions: str  # of the rig as it stands, for the session to know it again
    audible: bool = True

    def lines(self) -> tuple[str, ...]:
        """The announcement in words."""
        outputs = " and ".join(map(str, self.output_channels))
        time = "until you end it" if self.seconds is None else f"for {self.seconds:.3g} s"
        return (
            f"{self.what} live through {self.device}, input channel {self.input_channel}, output "
            f"channel {outputs}",
            f"{time}, rising to its level by 20 dB/s, nothing above {self.ceiling_dbfs:g} dBFS",
        )


CHECKLIST = (
    "Speaker or load connected and rated for the amp; master low; monitors down; "
    "direct monitoring off. This program cannot see any of these."
)


def announce(rig: Rig, plan: SignalPlan, full_scale_dbu: float | None = None) -> Announcement:
    """What playing `plan` on `rig` means.

    Parameters
    ----------
    full_scale_dbu : float, optional
        dBu of a sine with a peak of 0 dBFS; the stored calibration of the send, where not given.

    Raises
    ------
    SafetyStop
        The plan is above one of the rig's ceilings, which the message names by its key; or the
        rig has a ceiling in dBu and the send is not calibrated.
    """
    # a calibration plays tones, which are checked here, so it cannot be imported with this
    from profiler.capture.calibration import send_dbu_at_full_scale

    interface = rig.interface
    if interface.driver == "file":
        raise ValueError("a file rig plays nothing")
    if full_scale_dbu is None:
        full_scale_dbu = send_dbu_at_full_scale(rig)
    check_ceiling(plan, rig.maximum_send_dbfs)
    _check_volts(rig, plan, full_scale_dbu)
    ceiling = ceiling_dbfs(rig, full_scale_dbu)
    audible = isinstance(interface, PortAudioInterface)
    _check_heat(rig, plan, ceiling, audible)
    _check_frequencies(rig, plan, audible)

    device, send_channel = f"simulated {rig.chain.circuit or 'wire'}", 1
    if isinstance(interface, PortAudioInterface):
        device, send_channel = interface.device, interface.send_channel
    return Announcement(
        rig=rig.name,
        device=device,
        send_channel=send_channel,
        return_channels=recorded_channels(interface),
        signal=plan.name,
        peak_dbfs=plan.peak_dbfs,
        peak_dbu=None if full_scale_dbu is None else plan.peak_dbfs + full_scale_dbu,
        ceiling_dbfs=ceiling,
        seconds=plan.seconds,
        full_power_seconds=full_power_seconds(plan, ceiling),
        tone_duty=tone_duty(plan, ceiling),
        jump=largest_jump(plan),
        audible=audible,
        conditions=rig.fingerprint,
    )


def check_ceiling(plan: SignalPlan, ceiling_dbfs: float) -> None:
    """Refuse a plan that is louder than the rig allows."""
    if plan.peak_dbfs > ceiling_dbfs + CEILING_TOLERANCE_DB:
        raise SafetyStop(
            f"signal {plan.name} peaks at {plan.peak_dbfs:.1f} dBFS, above the rig's ceiling of "
            f"{ceiling_dbfs:g} dBFS: play it with --level {ceiling_dbfs:g}dBFS, or raise "
            "maximum_send_dbfs in the rig file if the device can take it"
        )


def full_power_seconds(plan: SignalPlan, ceiling_dbfs: float = 0.0) -> float:
    """Seconds for which a plan plays within 6 dB of the ceiling."""
    return sum(
        part.seconds
        for part in _parts(plan)
        if part.level_dbfs > ceiling_dbfs + FULL_POWER_DB + CEILING_TOLERANCE_DB
    )


def tone_duty(plan: SignalPlan, ceiling_dbfs: float = 0.0) -> float:
    """Share of a plan's time in which a tone plays that is above 12 dB below the ceiling."""
    loud = sum(
        part.seconds
        for part in _parts(plan)
        if part.lowest_hz is not None
        and part.level_dbfs > ceiling_dbfs + LOUD_TONE_DB + CEILING_TOLERANCE_DB
    )
    return loud / plan.seconds


def largest_jump(plan: SignalPlan) -> Jump | None:
    """Where a plan does not play quiet things first; None when it obeys.

    Up to the level of its first sound the quiet ramp leads, and from there no sound should be more
    than 12 dB above the loudest before it: what is wrong is then heard while it is harmless.
    """
    jumps = []
    loudest = math.inf
    for part in _parts(plan):
        rise_db = part.level_dbfs - loudest
        if rise_db > LARGEST_JUMP_DB + CEILING_TOLERANCE_DB:
            jumps.append(Jump(part.segment, rise_db))
        loudest = part.level_dbfs if math.isinf(loudest) else max(loudest, part.level_dbfs)
    return max(jumps, key=lambda jump: jump.rise_db, default=None)


def ceiling_dbfs(rig: Rig, full_scale_dbu: float | None) -> float:
    """The lower of a rig's two ceilings; that in dBu only where the send is calibrated."""
    if rig.maximum_send_dbu is None or full_scale_dbu is None:
        return rig.maximum_send_dbfs
    return min(rig.maximum_send_dbfs, rig.maximum_send_dbu - full_scale_dbu)


def _check_volts(rig, plan, full_scale_dbu):
    ceiling_dbu = rig.maximum_send_dbu
    if ceiling_dbu is None:
        return
    if full_scale_dbu is None:
        raise SafetyStop(
            f"rig {rig.name} has a ceiling of {ceiling_dbu:g} dBu (maximum_send_dbu), and its send "
            f"is not calibrated: run ampscope calibrate send {rig.name}, or take the key out and "
            "rely on maximum_send_dbfs"
        )
    peak_dbu = plan.peak_dbfs + full_scale_dbu
    if peak_dbu > ceiling_dbu + CEILING_TOLERANCE_DB:
        raise SafetyStop(
            f"signal {plan.name} peaks at {peak_dbu:.1f} dBu, above the rig's ceiling of "
            f"{ceiling_dbu:g} dBu: play it with --level {ceiling_dbu - full_scale_dbu:.1f}dBFS, or "
            "raise maximum_send_dbu in the rig file if the device can take it"
        )


def _check_heat(rig, plan, ceiling_dbfs, audible):
    most_seconds = _limit(rig.maximum_full_power_seconds, MAXIMUM_FULL_POWER_SECONDS, audible)
    seconds = full_power_seconds(plan, ceiling_dbfs)
    if seconds > most_seconds:
        raise SafetyStop(
            f"signal {plan.name} plays {seconds:.0f} s at full power (within "
            f"{-FULL_POWER_DB:g} dB of the ceiling), more than {most_seconds:g} s: play it softer "
            "with --level, or raise maximum_full_power_seconds in the rig file if amp and load can "
            "take it"
        )
    most_duty = _limit(rig.maximum_tone_duty, MAXIMUM_TONE_DUTY, audible)
    duty = tone_duty(plan, ceiling_dbfs)
    if duty > most_duty:
        raise SafetyStop(
            f"signal {plan.name} plays loud tones (above {LOUD_TONE_DB:g} dB re the ceiling) for "
            f"{100 * duty:.0f} % of its time, more than {100 * most_duty:g} %: play it softer with "
            "--level, or raise maximum_tone_duty in the rig file if amp and load can take it"
        )


def _check_frequencies(rig, plan, audible):
    lowest = _limit(rig.lowest_sweep_hz, LOWEST_SWEEP_HZ, audible, unlimited=0.0)
    for part in _parts(plan):
        if part.lowest_hz is not None and part.lowest_hz < lowest:
            raise SafetyStop(
                f"signal {plan.name} goes down to {part.lowest_hz:g} Hz in {part.segment}, below "
                f"the rig's {lowest:g} Hz: raise its frequency in a copy of the signal, or lower "
                "lowest_sweep_hz in the rig file if the speaker can take it"
            )


def _limit(stated, default, audible, unlimited=math.inf):
    if stated is not None:
        return stated
    return default if audible else unlimited


@dataclass(frozen=True)
class _Part:
    """A stretch of one level within a segment."""

    segment: str
    level_dbfs: float
    seconds: float
    lowest_hz: float | None = None  # of a tone or sweep; None for other material


def _parts(plan) -> Iterator[_Part]:
    """Everything in a plan that sounds, in order."""
    for segment in plan.segments:
        for level_dbfs, seconds, lowest_hz in _levels(segment):
            yield _Part(segment.name, level_dbfs + plan.gain_db, seconds, lowest_hz)


def _levels(segment: Segment):
    """Levels, seconds and lowest frequency of what sounds in a segment, in order."""
    level = segment.level_dbfs
    match segment.kind:
        case "silence":
            pass
        case "marker":
            yield level, 2 * MARKER_CODE_SECONDS, None
        case "probe":
            yield level, PROBE_TONE_SECONDS, segment.frequency
        case "burst":
            yield level, segment.tone_seconds, segment.frequency
        case "pump":
            yield segment.probe_dbfs, segment.before_seconds, segment.probe_frequency
            yield level, segment.tone_seconds, segment.frequency
            yield segment.probe_dbfs, segment.after_seconds, segment.probe_frequency
        case "sweep":
            yield level, segment.sweep_seconds, segment.start_hz
        case "staircase":
            for at in segment.levels_dbfs:
                yield at, segment.step_seconds, segment.frequency
        case "twin-tone":
            for at in segment.levels_dbfs:
                yield at, segment.step_seconds, segment.first_hz
        case "level-step":
            yield segment.soft_dbfs, segment.before_seconds, segment.frequency
            yield level, segment.loud_seconds, segment.frequency
            yield segment.soft_dbfs, segment.after_seconds, segment.frequency
        case "sine" | "reference":
            yield level, segment.duration, segment.frequency
        case _:
            yield level, segment.duration, None

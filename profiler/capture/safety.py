"""What is said, and checked, before the first sound.

This program drives tube amps and ears. Nothing is played that lies above the rig's
ceiling: it is refused, never limited, because a limiter would alter the test signal. A
program cannot see whether a speaker or load is attached; it can only say so.
"""

from dataclasses import dataclass

from profiler.errors import SafetyStop
from profiler.rig.rig import PortAudioInterface, Rig
from profiler.stimulus.plan import SignalPlan

CEILING_TOLERANCE_DB = 1e-4  # float32 rounding of a peak that sits at the ceiling


@dataclass(frozen=True)
class Announcement:
    """What is about to sound, for a person to confirm."""

    rig: str
    device: str
    send_channel: int
    signal: str
    peak_dbfs: float
    ceiling_dbfs: float
    seconds: float
    audible: bool  # whether real hardware will move

    def lines(self) -> tuple[str, ...]:
        """The announcement in words."""
        return (
            f"rig {self.rig}: {self.signal} through {self.device}, output channel "
            f"{self.send_channel}",
            f"peak {self.peak_dbfs:.1f} dBFS (ceiling {self.ceiling_dbfs:g} dBFS), "
            f"{self.seconds:.0f} s",
        )


CHECKLIST = (
    "Speaker or load connected and rated for the amp; master low; monitors down; "
    "direct monitoring off. This program cannot see any of these."
)


def announce(rig: Rig, plan: SignalPlan) -> Announcement:
    """What playing `plan` on `rig` means.

    Raises
    ------
    SafetyStop
        The stimulus peaks above the rig's ceiling.
    """
    interface = rig.interface
    if interface.driver == "file":
        raise ValueError("a file rig plays nothing")
    check_ceiling(plan, rig.maximum_send_dbfs)
    device, channel, audible = f"simulated {rig.chain.circuit or 'wire'}", 1, False
    if isinstance(interface, PortAudioInterface):
        device, channel, audible = interface.device, interface.send_channel, True
    return Announcement(
        rig=rig.name,
        device=device,
        send_channel=channel,
        signal=plan.name,
        peak_dbfs=plan.peak_dbfs,
        ceiling_dbfs=rig.maximum_send_dbfs,
        seconds=plan.seconds,
        audible=audible,
    )


def check_ceiling(plan: SignalPlan, ceiling_dbfs: float) -> None:
    """Refuse a plan that is louder than the rig allows."""
    if plan.peak_dbfs > ceiling_dbfs + CEILING_TOLERANCE_DB:
        raise SafetyStop(
            f"signal {plan.name} peaks at {plan.peak_dbfs:.1f} dBFS, above the rig's ceiling of "
            f"{ceiling_dbfs:g} dBFS: play it with --level {ceiling_dbfs:g}dBFS, or raise "
            "maximum_send_dbfs in the rig file if the device can take it"
        )

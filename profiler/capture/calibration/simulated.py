"""The bench of a simulated rig: a voltmeter at its send, and a loop cable.

With them a rig without hardware can be calibrated as a real one is. A sample of 1.0 is 1 V at the
device's jack.
"""

from profiler.capture.calibration import tone
from profiler.capture.calibration.send import ReadMeter
from profiler.rig.connect import connect
from profiler.rig.injection import SEND
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.units import Level, db_to_amplitude, rms_dbfs

METER_NOISE_RMS_DBFS = -160.0  # none that matters
METER_SECONDS = 2.0


def simulated_meter(rig: Rig) -> ReadMeter:
    """The voltmeter of a simulated rig, at the jack of its device.

    It reads the send by a loopback of its own, so it sees what a fault does to the send.
    """
    interface = rig.interface
    if not isinstance(interface, SimulatedInterface):
        raise ValueError(f"got a rig with driver={interface.driver!r}, not simulated")
    clipped_on = {
        "loopback_channel": 2,
        "noise_rms_dbfs": METER_NOISE_RMS_DBFS,
        "faults": {name: fault for name, fault in interface.faults.items() if name in SEND},
    }
    measured = looped(rig).model_copy(update={"interface": interface.model_copy(update=clipped_on)})

    def read(level_dbfs: float) -> Level:
        plan = tone.tone_plan(level_dbfs, METER_SECONDS, interface.sample_rate)
        recorded, _ = tone.play(measured, plan, connect(measured))
        volts_rms = float(db_to_amplitude(rms_dbfs(tone.steady_tone(plan, recorded[:, 1]))))
        return Level(volts_rms, "Vrms")

    return read


def looped(rig: Rig) -> Rig:
    """A simulated rig with a loop cable in place of its device; a real one as it is."""
    if not isinstance(rig.interface, SimulatedInterface):
        return rig
    return rig.model_copy(update={"chain": Chain(circuit="wire")})

"""From a rig to the open interface that reaches it."""

from profiler.rig.interface import Interface
from profiler.rig.rig import Rig


def connect(rig: Rig) -> Interface:
    """Open the interface of a rig, simulated or real.

    Raises
    ------
    ValueError
        A file rig: its recording is there already, and is imported instead.
    InterfaceError
        The device, or PortAudio itself, is not there.
    DefinitionError
        A simulated rig whose circuit or controls cannot be meant.
    """
    driver = rig.interface.driver
    if driver == "file":
        raise ValueError(f"got rig {rig.name!r} with driver='file': it is imported, not played")
    # Each is loaded only when it is used: one compiles circuits, the other opens PortAudio.
    if driver == "simulated":
        from profiler.rig.simulated import Simulated

        return Simulated(rig)
    from profiler.rig.portaudio import PortAudio

    return PortAudio(rig)

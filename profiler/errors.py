"""Everything that can go wrong in the room, as opposed to in the code.

ProfilerError
├── DefinitionError    a signal or rig file says something it cannot mean
├── InterfaceError     the audio interface is absent, busy or refuses the format
│   └── Dropout        samples were lost while playing or recording
├── CaptureError       the recording cannot be used
│   ├── Clipping       the input reached full scale
│   ├── Silent         nothing came back
│   ├── NotAligned     no single delay explains the recording
│   ├── NotSettled     the amp was still drifting when the burst ended
│   └── CheckFailed    a check of the take found what spoils it
├── SafetyStop         the sound could hurt an amp or ears: it was not made, or faded out
├── TrainingError      the network cannot be trained on this material
└── ExportError        a model file cannot be written, or cannot be read back

A message is one line: what was seen, what was expected, what to do next.
"""


class ProfilerError(Exception):
    """Base class: the command prints it as one line and exits with `exit_code`."""

    exit_code = 1


class DefinitionError(ProfilerError):
    """A signal or rig file says something it cannot mean."""


class InterfaceError(ProfilerError):
    """The audio interface is absent, busy or refuses the format."""

    exit_code = 4


class Dropout(InterfaceError):
    """Samples were lost while playing or recording."""


class CaptureError(ProfilerError):
    """The recording cannot be used.

    Attributes
    ----------
    cause, action : str
        The two halves of the message; without an action, the cause is all of it.
    fault : str, optional
        The name in `profiler.rig.faults` of what was seen, where it has one.
    at_seconds : float, optional
        Its place, a time of the stimulus.
    size : float, optional
        How much of it, in the fault's own unit: frames, ppm, samples, Hz.
    others : tuple of CaptureError
        What else is wrong with the same recording.
    """

    def __init__(
        self,
        cause: str = "",
        action: str = "",
        *,
        fault: str | None = None,
        at_seconds: float | None = None,
        size: float | None = None,
    ):
        super().__init__(f"{cause}: {action}" if action else cause)
        self.cause = cause
        self.action = action
        self.fault = fault
        self.at_seconds = at_seconds
        self.size = size
        self.others: tuple[CaptureError, ...] = ()


class Clipping(CaptureError):
    """The input reached full scale."""

    exit_code = 3


class Silent(CaptureError):
    """Nothing came back."""

    exit_code = 3


class NotAligned(CaptureError):
    """No single delay explains the recording."""

    exit_code = 3


class NotSettled(CaptureError):
    """The amp was still drifting when the burst ended."""

    exit_code = 3


class CheckFailed(CaptureError):
    """A check of the take found what spoils it."""

    exit_code = 3


class SafetyStop(ProfilerError):
    """The sound could hurt an amp or ears: it was not made, or faded out."""

    exit_code = 5


class TrainingError(ProfilerError):
    """The network cannot be trained on this material."""


class ExportError(ProfilerError):
    """A model file cannot be written, or cannot be read back."""

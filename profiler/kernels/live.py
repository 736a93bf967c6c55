"""A network played live, in an audio driver's callback that is all native code.

`Live` gives the driver two addresses: that of a callback, and that of itself. From then on the
driver's thread plays: gain, network, impulse response, gain, guards. The interpreter is not
asked, so nothing that Python does can hold a block up. Python turns the gains, hands over the next
network, and reads the meters; what both threads share is atomic, and neither waits for the other.

Conventions
-----------
A *voice* is a network, begun after silence, and the impulse response behind it. A switch is not
heard: the new voice first listens, muted, for as long as it remembers (0.25 s at most), and
fades in over the old one within 20 ms.

Channels count from 1, as on the interface's panel. Gains are factors, and move within 10 ms.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from profiler.kernels import Stream, _flat, _required

Ending = Literal["", "input-not-finite", "output-not-finite", "clipped", "offset"]


class Load(NamedTuple):
    """Time that callbacks took, as a share of the time that their samples last."""

    mean: float
    high: float  # 999 of 1000 are below
    highest: float


class Convolver:
    """An impulse response, convolved block by block and without delay.

    Its first 64 taps are summed as they stand, the others as spectra of 64 taps each (Gardner,
    1995), so that any partition into blocks gives the same output.

    Parameters
    ----------
    impulse : (n,) array
        At most 2^20 samples.

    Raises
    ------
    ValueError
        No sample, too many, or one that is not finite.
    ProfilerError
        The native module is not available.
    """

    def __init__(self, impulse: ArrayLike):
        self._convolver = _required().Convolver(_flat(impulse, "the impulse response"))

    def process(self, block: ArrayLike) -> NDArray[np.float32]:
        """The next output, `(n,)`, for the next `(n,)` samples of input."""
        signal = _flat(block, "the block")
        out = np.empty_like(signal)
        self._convolver.process(signal, out)
        return out

    def forget(self) -> None:
        """Begin anew after silence."""
        self._convolver.forget()


class Live:
    """What a driver's callback plays.

    It must outlive the stream that it was given to. One thread owns it.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    inputs, outputs : int
        Channels of the driver's buffers.
    input : int
        The channel that is played.
    to : sequence of int
        The channels that sound.
    ceiling : float
        Above 0, at most 1: what is above it is cut off, and counted.
    rise_seconds : float
        In which the sound comes up to its level, by 20 dB/s.

    Raises
    ------
    ValueError
        There are no such channels, or a number is out of range.
    ProfilerError
        The native module is not available.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        inputs: int = 1,
        input: int = 1,
        outputs: int = 1,
        to: Sequence[int] = (1,),
        ceiling: float = 1.0,
        rise_seconds: float = 0.0,
    ):
        self._live = _required().Live(
            sample_rate,
            inputs,
            input - 1,
            outputs,
            [each - 1 for each in to],
            ceiling,
            rise_seconds,
        )
        self._inputs, self._outputs = inputs, outputs

    # -- what the owner does ---------------------------------------------------------------

    def play(self, stream: Stream, convolver: Convolver | None = None) -> None:
        """Switch to a voice, none of whose parts were or will be used elsewhere."""
        self._live.play(stream._stream, None if convolver is None else convolver._convolver)

    def free_old(self) -> None:
        """Free the voice that sounds no more; the next switch waits for it."""
        self._live.free_old()

    def set_gains(self, gain_in: float, gain_out: float) -> None:
        """Factors before and behind the voice."""
        self._live.set_gains(gain_in, gain_out)

    def set_muted(self, muted: bool) -> None:
        """Silence, while the voice goes on hearing."""
        self._live.set_muted(muted)

    def measure(self, probe: ArrayLike) -> None:
        """Before the stream starts: play this once, instead of a voice, and keep the input."""
        self._live.measure(_flat(probe, "the probe"))

    def measured(self) -> NDArray[np.float32]:
        """The input while the probe was played, sample for sample; once it is `silent`."""
        return np.array(self._live.measured(), np.float32)

    def fade_out(self) -> None:
        """Let the sound end within 10 ms; it is `silent` then."""
        self._live.fade_out()

    # -- what the driver does --------------------------------------------------------------

    @property
    def callback_address(self) -> int:
        """Of the function that PortAudio calls, a `PaStreamCallback`."""
        return self._live.callback_address

    @property
    def address(self) -> int:
        """Of the user data that belongs to that function."""
        return self._live.address

    def callback(self, block: ArrayLike, *, flags: int = 0) -> NDArray[np.float32]:
        """What the driver would be given for a block, as a driver would ask for it.

        Parameters
        ----------
        block : (frames, inputs) array

        Returns
        -------
        (frames, outputs) float32 array
        """
        frames = np.ascontiguousarray(block, np.float32)
        out = np.full((len(frames), self._outputs), np.nan, np.float32)
        self._live.callback(frames, out, flags)
        return out

    # -- what there is to see --------------------------------------------------------------

    def take_peaks(self) -> tuple[float, float]:
        """Largest samples of input and output since they were last taken."""
        return self._live.take_peaks()

    @property
    def load(self) -> Load:
        """Of all callbacks so far."""
        return Load(*self._live.load)

    @property
    def switching(self) -> bool:
        """Whether the last voice has not taken over yet."""
        return self._live.switching

    @property
    def silent(self) -> bool:
        """Whether it has faded out, or ended by itself."""
        return self._live.silent

    @property
    def ending(self) -> Ending:
        """Why it ended by itself; empty if it did not.

        `clipped`: at the ceiling for half a second, as feedback is. `offset`: the output's mean
        was above -20 dBFS for a second. Otherwise something was not a number.
        """
        return self._live.ending

    @property
    def blocks(self) -> int:
        """Callbacks so far."""
        return self._live.blocks

    @property
    def frames(self) -> int:
        """Samples so far."""
        return self._live.frames

    @property
    def late(self) -> int:
        """Callbacks that took longer than their samples last, whoever held them up."""
        return self._live.late

    @property
    def overloaded(self) -> int:
        """Callbacks that computed for longer than their samples last: xruns of our making.

        By the processor time of their thread, without what the system gave to others meanwhile.
        """
        return self._live.overloaded

    @property
    def flagged(self) -> int:
        """Callbacks to which the driver said that samples were lost."""
        return self._live.flagged

    @property
    def clipped(self) -> int:
        """Samples that were cut off at the ceiling."""
        return self._live.clipped

    @property
    def block_sizes(self) -> tuple[int, int]:
        """Least and most frames of a callback."""
        return self._live.block_sizes

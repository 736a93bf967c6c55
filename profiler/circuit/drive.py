"""An overdrive pedal: an op-amp with diodes in its feedback, then a tone control.

    input - op-amp, non-inverting: 4.7 kohm and 47 nF to ground; 51 kohm, the drive pot
    (500 kohm), 51 pF and two 1N914 back to back in the feedback - tone - level

The bass is distorted less than the rest (the 47 nF: 720 Hz), and the clean signal stays
in the sum, as in the pedals it is modelled on. The op-amp is ideal.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from profiler.circuit import filters
from profiler.circuit.diode import DIODES_1N914, Clipper, clip
from profiler.circuit.filters import biquad

CONTROLS = ("drive", "tone", "level")

GROUND_OHMS = 4.7e3
GROUND_FARADS = 47e-9
LEAST_FEEDBACK_OHMS = 51e3
DRIVE_POT_OHMS = 500e3
FEEDBACK_FARADS = 51e-12
TONE_SOURCE_OHMS = 1e3
TONE_POT_OHMS = 20e3
TONE_FARADS = 220e-9

OUTPUT_PER_VOLT = 0.6  # of full scale, with the level control at 10


class Parts(NamedTuple):
    """The pedal at one position of its controls and one internal rate."""

    ground: np.ndarray  # current through the leg to ground, A per V
    clipper: Clipper
    tone: np.ndarray
    level: float


class State(NamedTuple):
    """What the pedal remembers; every field is an array that `_run` writes to."""

    ground: np.ndarray
    feedback: np.ndarray  # V over it, a step and two steps ago
    tone: np.ndarray


class Drive:
    """The pedal at the internal rate, at rest when it is made."""

    def __init__(self, controls: dict[str, float], rate: float):
        self._parts = parts(controls, rate)
        self._state = State(np.zeros(2), np.zeros(2), np.zeros(2))

    def run(self, volts: np.ndarray) -> np.ndarray:
        """What comes out for `(n,)` volts at the input, both at the internal rate."""
        return _run(self._parts, self._state, volts) * OUTPUT_PER_VOLT


def parts(controls: dict[str, float], rate: float) -> Parts:
    """The pedal's parts, its three controls at 0 to 10."""
    feedback_ohms = LEAST_FEEDBACK_OHMS + filters.audio_taper(controls["drive"]) * DRIVE_POT_OHMS
    tone_ohms = filters.audio_taper(controls["tone"]) * TONE_POT_OHMS
    tone = filters.treble_cut(TONE_SOURCE_OHMS, tone_ohms, TONE_FARADS)
    ground = [GROUND_FARADS, 0.0], [GROUND_OHMS * GROUND_FARADS, 1.0]
    return Parts(
        ground=filters.digital(ground, rate),
        clipper=Clipper(DIODES_1N914, feedback_ohms, FEEDBACK_FARADS, 1.0 / rate),
        tone=filters.digital(tone, rate),
        level=filters.audio_taper(controls["level"]),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _run(parts, state, volts):
    out = np.empty(len(volts))
    for n in range(len(volts)):
        fed = biquad(parts.ground, state.ground, volts[n])
        volts_over = clip(parts.clipper, fed, state.feedback[0], state.feedback[1])
        state.feedback[1] = state.feedback[0]
        state.feedback[0] = volts_over
        amplified = volts[n] + volts_over
        out[n] = parts.level * biquad(parts.tone, state.tone, amplified)
    return out

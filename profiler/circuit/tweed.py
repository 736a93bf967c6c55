"""A tube amp of the tweed kind: two 12AX7 stages into a push-pull pair of 6L6GC.

    input - V1 - 22 nF - gain - V2 - tone - master - splitter - 2 x 100 nF - 2 x 6L6GC
          - output transformer - load (resistive: no cabinet)

What gives it memory: the cathode capacitors (some 20 ms), the 22 nF into the gain pot and
the 100 nF into the power grids, which block for 24 ms once a grid has conducted, and the
screen supply (4.7 kohm, 22 uF), which sags over 70 to 100 ms.

What is simplified: each stage drives the next through its output resistance at rest, the
splitter is ideal, plates and preamp hang on a stiff supply, and the transformer is linear.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy import optimize

from profiler.circuit import filters
from profiler.circuit.filters import biquad
from profiler.circuit.stages import GRID_CONDUCTION, SAG, TRANSFORMER
from profiler.circuit.supply import Node, node, settle_node, stiff
from profiler.circuit.tube import (
    MILLER_FARADS,
    PENTODE_6L6GC,
    TRIODE_12AX7,
    Coupling,
    Curve,
    Pentode,
    TriodeStage,
    drive_grid,
    look_up,
    pentode_curve,
    pentode_drive,
)

CONTROLS = ("gain", "tone", "master")
LEAVE_OUTS = (SAG, GRID_CONDUCTION, TRANSFORMER)

FIRST_STAGE = TriodeStage(TRIODE_12AX7, 250.0, 100e3, 1.5e3, 25e-6)
SECOND_STAGE = TriodeStage(TRIODE_12AX7, 250.0, 100e3, 1.5e3, 25e-6)
GAIN_POT_OHMS = 1e6
FIRST_COUPLING_FARADS = 22e-9
TONE_SOURCE_OHMS = 100e3  # isolates the tone control from the second plate
TONE_POT_OHMS = 1e6
TONE_FARADS = 1e-9
SPLITTER_OHMS = 20e3
POWER_COUPLING_FARADS = 100e-9
POWER_LEAK_OHMS = 220e3
POWER_BIAS_VOLTS = -32.0
PLATE_VOLTS = 360.0
SCREEN_OHMS = 4.7e3
SCREEN_FARADS = 22e-6
LOAD_OHMS = 6.6e3  # plate to plate
PRIMARY_HENRIES = 22.0  # bass ends at 48 Hz
LEAKAGE_HENRIES = 0.2  # treble ends at 8 kHz: a small amp's transformer
WINDING_FARADS = 2e-9

LEAST_GAIN = 1e-4  # the wiper of a real pot never quite reaches its end
OUTPUT_PER_VOLT = 0.45 / 330.0  # of full scale: the loudest transients end at -3 dBFS


class Preamp(NamedTuple):
    """A triode stage ready to play."""

    curve: Curve
    rest_plate: float  # V
    rest_cathode: float  # V
    supply: float
    ohms_ratio: float  # cathode over plate resistor
    cathode_decay: float  # in one time step


class Power(NamedTuple):
    """The push-pull pair."""

    tube: Pentode
    curve: Curve  # of what grid and screen do
    plate_volts: float
    load_ohms: float  # that the difference of both currents sees


class Parts(NamedTuple):
    """The amp at one position of its controls and one internal rate."""

    first: Preamp
    miller: np.ndarray
    gain: Coupling
    second: Preamp
    tone: np.ndarray
    master: float
    splitter: Coupling
    power: Power
    screen: Node
    primary: np.ndarray
    leakage: np.ndarray


class State(NamedTuple):
    """What the amp remembers; every field is an array that `_run` writes to."""

    cathodes: np.ndarray  # V, of the two preamp stages
    gain: np.ndarray  # V over the capacitor, A into it, V at the grid
    upper: np.ndarray  # the same of the two power grids
    lower: np.ndarray
    screen: np.ndarray  # V
    swing: np.ndarray  # V, half the primary
    miller: np.ndarray
    tone: np.ndarray
    primary: np.ndarray
    leakage: np.ndarray


class Tweed:
    """The amp at the internal rate, at rest when it is made."""

    def __init__(self, controls: dict[str, float], rate: float, leave_out: Collection[str] = ()):
        self._parts = parts(controls, rate, leave_out)
        self._state = _at_rest(self._parts)

    def run(self, volts: np.ndarray) -> np.ndarray:
        """What comes out for `(n,)` volts at the input, both at the internal rate."""
        return _run(self._parts, self._state, volts) * OUTPUT_PER_VOLT

    def voltages(self) -> dict[str, float]:
        """What a meter would show now, V: the screen node, and both power grids."""
        return {
            "screen": float(self._state.screen[0]),
            "upper grid": float(self._state.upper[2]),
            "lower grid": float(self._state.lower[2]),
        }


def parts(controls: dict[str, float], rate: float, leave_out: Collection[str] = ()) -> Parts:
    """The amp's parts, its three controls at 0 to 10, without some of `LEAVE_OUTS`.

    Without sag the screens stay where they rest; without its transformer, the tubes' plates are
    what is heard.
    """
    gain = max(filters.audio_taper(controls["gain"]), LEAST_GAIN)
    lower_ohms = gain * GAIN_POT_OHMS
    source_ohms = FIRST_STAGE.output_ohms() + GAIN_POT_OHMS - lower_ohms
    wiper_ohms = source_ohms * lower_ohms / (source_ohms + lower_ohms)
    miller_hz = 1.0 / (2.0 * np.pi * wiper_ohms * MILLER_FARADS)
    tone_ohms = filters.audio_taper(controls["tone"]) * TONE_POT_OHMS
    tone = filters.treble_cut(SECOND_STAGE.output_ohms() + TONE_SOURCE_OHMS, tone_ohms, TONE_FARADS)
    bass_hz = LOAD_OHMS / (2.0 * np.pi * PRIMARY_HENRIES)
    leakage = filters.leakage(LOAD_OHMS, LEAKAGE_HENRIES, WINDING_FARADS)
    half_step = 0.5 / rate
    conducts = 0.0 if GRID_CONDUCTION in leave_out else 1.0
    second = _preamp(SECOND_STAGE, rate)
    ideal, straight = TRANSFORMER in leave_out, filters.digital(([1.0], [1.0]), rate)
    return Parts(
        first=_preamp(FIRST_STAGE, rate),
        miller=filters.digital(filters.lowpass(miller_hz), rate),
        gain=Coupling(
            source_ohms,
            FIRST_COUPLING_FARADS,
            lower_ohms,
            -second.rest_cathode,
            half_step,
            conducts,
        ),
        second=second,
        tone=filters.digital(tone, rate),
        master=filters.audio_taper(controls["master"]),
        splitter=Coupling(
            SPLITTER_OHMS,
            POWER_COUPLING_FARADS,
            POWER_LEAK_OHMS,
            POWER_BIAS_VOLTS,
            half_step,
            conducts,
        ),
        power=Power(PENTODE_6L6GC, pentode_curve(PENTODE_6L6GC), PLATE_VOLTS, LOAD_OHMS / 4.0),
        screen=stiff(rest_screen_volts())
        if SAG in leave_out
        else node(PLATE_VOLTS, SCREEN_OHMS, SCREEN_FARADS, rate),
        primary=straight if ideal else filters.digital(filters.highpass(bass_hz), rate),
        leakage=straight if ideal else filters.digital(leakage, rate),
    )


def rest_screen_volts() -> float:
    """Where the screen node rests: what two idle tubes draw comes through its resistor."""

    def excess(volts):
        drawn = 2.0 * pentode_drive(PENTODE_6L6GC, POWER_BIAS_VOLTS, volts) / PENTODE_6L6GC.kg2
        return PLATE_VOLTS - SCREEN_OHMS * drawn - volts

    return float(optimize.brentq(excess, 1.0, PLATE_VOLTS, xtol=1e-12))


def _preamp(stage, rate):
    curve = stage.curve()
    ratio = stage.cathode_ohms / stage.plate_ohms
    cathode = stage.cathode_volts()
    for _ in range(200):  # on the curve as it is looked up, to the last bit
        cathode = ratio * (stage.supply - look_up(curve, -cathode))
    return Preamp(
        curve,
        look_up(curve, -cathode),
        cathode,
        stage.supply,
        ratio,
        float(np.exp(-1.0 / (stage.cathode_ohms * stage.cathode_farads * rate))),
    )


def _at_rest(parts):
    """The state that silence leaves as it is, to the last bit."""
    return State(
        cathodes=np.array([parts.first.rest_cathode, parts.second.rest_cathode]),
        gain=np.array([-parts.gain.rest_volts, 0.0, parts.gain.rest_volts]),
        upper=np.array([-POWER_BIAS_VOLTS, 0.0, POWER_BIAS_VOLTS]),
        lower=np.array([-POWER_BIAS_VOLTS, 0.0, POWER_BIAS_VOLTS]),
        screen=np.array([rest_screen_volts()]),
        swing=np.zeros(1),
        miller=np.zeros(2),
        tone=np.zeros(2),
        primary=np.zeros(2),
        leakage=np.zeros(2),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _run(parts, state, volts):
    out = np.empty(len(volts))
    for n in range(len(volts)):
        first = _amplify(parts.first, state.cathodes, 0, volts[n] - state.cathodes[0])
        _couple(parts.gain, state.gain, biquad(parts.miller, state.miller, first))

        grid = state.gain[2] + parts.second.rest_cathode - state.cathodes[1]
        second = _amplify(parts.second, state.cathodes, 1, grid)
        split = parts.master * biquad(parts.tone, state.tone, second)

        _couple(parts.splitter, state.upper, split)
        _couple(parts.splitter, state.lower, -split)
        tube = parts.power.tube
        screen = state.screen[0]
        strength = screen**tube.ex
        upper = strength * look_up(parts.power.curve, state.upper[2] / screen)
        lower = strength * look_up(parts.power.curve, state.lower[2] / screen)
        state.swing[0] = push_pull(parts.power, upper, lower, state.swing[0])
        state.screen[0] = settle_node(parts.screen, screen, (upper + lower) / tube.kg2)

        bass = biquad(parts.primary, state.primary, state.swing[0])
        out[n] = biquad(parts.leakage, state.leakage, bass)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _amplify(preamp, cathodes, index, grid):
    """Plate voltage of a stage, from its rest; its current charges the cathode."""
    plate = look_up(preamp.curve, grid)
    steady = preamp.ohms_ratio * (preamp.supply - plate)
    cathodes[index] = steady + (cathodes[index] - steady) * preamp.cathode_decay
    return plate - preamp.rest_plate


@njit(cache=True, nogil=True, error_model="numpy")
def _couple(coupling, state, source):
    state[0], state[1], state[2] = drive_grid(coupling, source, state[0], state[1], state[2])


@njit(cache=True, nogil=True, error_model="numpy")
def push_pull(power, upper, lower, swing):
    """Voltage over half the primary, where both tubes' currents and the load agree.

    Newton's method from the last `swing`, kept between brackets: the knee of a pentode is
    too sharp for it alone.
    """
    knee = power.tube.kvb
    scale = 2.0 * power.load_ohms / power.tube.kg1
    low, high = -power.plate_volts, power.plate_volts
    for _ in range(60):
        left = (power.plate_volts - swing) / knee
        right = (power.plate_volts + swing) / knee
        excess = scale * (upper * np.arctan(left) - lower * np.arctan(right)) - swing
        if excess == 0.0:
            break
        if excess > 0.0:
            low = swing
        else:
            high = swing
        slope = scale / knee * (upper / (1.0 + left * left) + lower / (1.0 + right * right))
        following = swing + excess / (1.0 + slope)
        if not low < following < high:
            following = 0.5 * (low + high)
        change = following - swing
        swing = following
        if abs(change) < 1e-3:  # V; it converges by squares, so what is left is below 1e-7 V
            break
    return swing

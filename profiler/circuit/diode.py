"""Diodes: of silicon and germanium, light-emitting, and of glass.

A pair of them back to back is what a clipping pedal clips with.
"""

from typing import NamedTuple

import numpy as np
from numba import njit


class Junction(NamedTuple):
    """A semiconductor diode after Shockley: I = Is (exp(V / (n Vt)) - 1)."""

    saturation_amperes: float
    emission_volts: float  # n Vt


class VacuumDiode(NamedTuple):
    """A rectifier tube after Child and Langmuir: I = perveance V ** 1.5, none backwards."""

    perveance: float  # A / V ** 1.5


DIODE_1N914 = Junction(saturation_amperes=2.52e-9, emission_volts=1.752 * 25.85e-3)
DIODE_1N34A = Junction(saturation_amperes=2.0e-7, emission_volts=1.3 * 25.85e-3)  # germanium
DIODE_1N4007 = Junction(saturation_amperes=14.11e-9, emission_volts=1.984 * 25.85e-3)
LED_RED = Junction(saturation_amperes=93.2e-12, emission_volts=3.73 * 25.85e-3)  # 1.8 V at 10 mA

# The data sheets' drop at their rated current, each plate.
RECTIFIER_GZ34 = VacuumDiode(perveance=0.225 / 17.0**1.5)
RECTIFIER_5U4GB = VacuumDiode(perveance=0.275 / 44.0**1.5)
RECTIFIER_5Y3GT = VacuumDiode(perveance=0.125 / 50.0**1.5)


class DiodePair(NamedTuple):
    """Two equal silicon diodes, antiparallel: I = 2 Is sinh(V / (n Vt))."""

    saturation_amperes: float
    emission_volts: float  # n Vt


DIODES_1N914 = DiodePair(saturation_amperes=2.52e-9, emission_volts=1.752 * 25.85e-3)


class Clipper(NamedTuple):
    """Diodes, a resistor and a capacitor, all in parallel, fed with a current."""

    diodes: DiodePair
    ohms: float
    farads: float
    step: float  # s


@njit(cache=True, nogil=True, error_model="numpy")
def clip(clipper, fed, volts, earlier):
    """One time step of the clipper, solved for its voltage by Newton's method.

    The second backward difference formula: the trapezoidal rule would ring here, because
    conducting diodes are a hundred times faster than a step.

    Parameters
    ----------
    fed : float
        Current into it, A.
    volts, earlier : float
        Voltage over it a step ago, and two steps ago.

    Returns
    -------
    float
        Voltage over it.
    """
    diodes = clipper.diodes
    conductance = 1.5 * clipper.farads / clipper.step
    source = fed + clipper.farads / clipper.step * (2.0 * volts - 0.5 * earlier)
    for _ in range(100):
        rising = np.exp(volts / diodes.emission_volts)
        falling = 1.0 / rising
        current = diodes.saturation_amperes * (rising - falling) + volts / clipper.ohms
        slope = (
            diodes.saturation_amperes / diodes.emission_volts * (rising + falling)
            + 1.0 / clipper.ohms
        )
        change = (source - conductance * volts - current) / (conductance + slope)
        # an exponential overshoots: some emission voltages further, a step leads nowhere
        change = min(max(change, -4.0 * diodes.emission_volts), 4.0 * diodes.emission_volts)
        volts += change
        if abs(change) < 1e-7:  # V; it converges by squares
            break
    return volts

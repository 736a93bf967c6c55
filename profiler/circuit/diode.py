"""A pair of diodes back to back: what a clipping pedal clips with."""

from typing import NamedTuple

import numpy as np
from numba import njit


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
    half_step: float  # s: half the time step


@njit(cache=True, nogil=True, error_model="numpy")
def clip(clipper, fed, volts, charging):
    """One trapezoidal step of the clipper, solved for its voltage by Newton's method.

    Parameters
    ----------
    fed : float
        Current into it, A.
    volts, charging : float
        Voltage over it and current into its capacitor, a step ago.

    Returns
    -------
    volts, charging : float
    """
    diodes = clipper.diodes
    conductance = clipper.farads / clipper.half_step
    history = conductance * volts + charging
    for _ in range(100):
        ratio = volts / diodes.emission_volts
        rising = np.exp(ratio)
        falling = 1.0 / rising
        current = diodes.saturation_amperes * (rising - falling) + volts / clipper.ohms
        slope = (
            diodes.saturation_amperes / diodes.emission_volts * (rising + falling)
            + 1.0 / clipper.ohms
        )
        change = (fed + history - conductance * volts - current) / (conductance + slope)
        # an exponential overshoots: beyond some emission voltages a step leads nowhere
        change = min(max(change, -4.0 * diodes.emission_volts), 4.0 * diodes.emission_volts)
        volts += change
        if abs(change) < 1e-12:
            break
    return volts, conductance * volts - history

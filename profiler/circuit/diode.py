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

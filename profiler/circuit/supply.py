"""The supply node: a resistor and a capacitor between the rectifier and the tubes.

A loud note draws current, the node's voltage falls over some tenths of a second, and the
amp gives way: sag.
"""

from typing import NamedTuple

import numpy as np
from numba import njit


class Node(NamedTuple):
    """A supply node."""

    source_volts: float
    ohms: float
    decay: float  # of the difference from the steady voltage, in one time step


def node(source_volts: float, ohms: float, farads: float, rate: float) -> Node:
    """A node fed with `source_volts` through `ohms`, buffered by `farads`."""
    return Node(source_volts, ohms, float(np.exp(-1.0 / (ohms * farads * rate))))


def stiff(volts: float) -> Node:
    """A node that stays at `volts`, whatever is drawn."""
    return Node(volts, 0.0, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def settle_node(supply, volts, current):
    """The node's voltage a time step later, exact for a current that holds that long."""
    steady = supply.source_volts - supply.ohms * current
    return steady + (volts - steady) * supply.decay

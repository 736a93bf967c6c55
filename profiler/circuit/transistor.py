"""Bipolar transistors after Ebers and Moll (Proc. IRE 42, 1954), in the transport form.

    Icc = Is (exp(Vbe / Vt) - exp(Vbc / Vt))      collector to emitter
    Ib  = Is / forward_beta (exp(Vbe / Vt) - 1) + Is / reverse_beta (exp(Vbc / Vt) - 1)

A PNP is the same with every voltage and current turned round.
"""

from typing import NamedTuple


class Bjt(NamedTuple):
    """Parameters of a bipolar transistor."""

    saturation_amperes: float  # Is
    forward_beta: float
    reverse_beta: float
    emission_volts: float = 25.85e-3  # Vt, at 27 degrees Celsius
    pnp: bool = False


# Silicon, from the makers' SPICE models.
BJT_2N3904 = Bjt(saturation_amperes=6.734e-15, forward_beta=416.4, reverse_beta=0.7371)
BJT_BC108 = Bjt(saturation_amperes=1.8e-14, forward_beta=400.0, reverse_beta=35.5)
# Germanium for a fuzz: some 0.2 V from base to emitter at half a milliampere.
BJT_AC128 = Bjt(saturation_amperes=1.4e-7, forward_beta=90.0, reverse_beta=4.0, pnp=True)

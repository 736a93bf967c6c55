"""How far an estimate is from the target: one definition for training, verification and report.

ESR, the error-to-signal ratio, is the energy of the error over the energy of the target;
10 log10 ESR is the depth to which the two null. Two passes of one passage through the same
device differ by its noise: with the replicate ESR between them, independent noise makes
half of it the best that any model can reach, the floor.

Conventions
-----------
Target first, estimate second. Signals are `(n,)`, aligned sample by sample; everything is
computed in float64.
"""

import numpy as np

PRE_EMPHASIS = 0.95  # of the first-order filter 1 - 0.95 z^-1

# Words for an ESR that users of neural models know.
ESR_WORDS = ((0.01, "great"), (0.035, "not bad"), (0.1, "might be ok"), (0.3, "poor"))


def esr(target, estimate):
    """Error-to-signal ratio, sum (target - estimate)^2 / sum target^2.

    Parameters
    ----------
    target, estimate : (n,) float array

    Returns
    -------
    float
        0 for equal signals, 1 for an estimate of silence, 4 for one of reversed polarity.

    Raises
    ------
    ValueError
        Different lengths, or a target without energy, for which there is no ratio.
    """
    target, estimate = _pair(target, estimate)
    energy = np.dot(target, target)
    if energy == 0.0:
        raise ValueError("the target is silent: an error-to-signal ratio needs a signal")
    error = target - estimate
    return float(np.dot(error, error) / energy)


def esr_preemphasised(target, estimate):
    """`esr` of both signals behind 1 - 0.95 z^-1, which weighs the treble as ears do.

    The filter is Wright and Välimäki's ("Perceptual loss function for neural modelling of
    audio systems", ICASSP 2020), with the coefficient 0.95.
    """
    target, estimate = _pair(target, estimate)
    return esr(pre_emphasised(target), pre_emphasised(estimate))


def pre_emphasised(signal):
    """The signal behind 1 - 0.95 z^-1, from rest."""
    signal = np.asarray(signal, np.float64)
    return signal - PRE_EMPHASIS * np.concatenate([[0.0], signal[:-1]])


def rmse(target, estimate):
    """Root of the mean squared error, in units of full scale."""
    target, estimate = _pair(target, estimate)
    return float(np.sqrt(np.mean(np.square(target - estimate))))


def replicate_esr(first, second):
    """ESR between two passes of one passage through one device.

    The energy is the mean of both passes', so that their order does not matter.
    """
    first, second = _pair(first, second)
    energy = (np.dot(first, first) + np.dot(second, second)) / 2.0
    if energy == 0.0:
        raise ValueError("both passes are silent: an error-to-signal ratio needs a signal")
    difference = first - second
    return float(np.dot(difference, difference) / energy)


def floor_esr(replicate):
    """The lowest ESR that a model can reach, from the replicate ESR: half of it."""
    return replicate / 2.0


def esr_words(esr: float) -> str:
    """The word that users of neural models have for an ESR."""
    return next((word for limit, word in ESR_WORDS if esr < limit), "not a model of this device")


def _pair(target, estimate):
    target, estimate = np.asarray(target, np.float64), np.asarray(estimate, np.float64)
    if target.ndim != 1 or target.shape != estimate.shape or target.size == 0:
        raise ValueError(
            f"expected two signals of one length, got {target.shape} and {estimate.shape}"
        )
    return target, estimate

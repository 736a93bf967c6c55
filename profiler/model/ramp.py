"""The learning rate of a run, by a range test.

The rate rises from step to step, over some dozens of steps from the first weights, and the
loss is watched (Smith, "Cyclical learning rates for training neural networks", WACV 2017). SOAP's
steps are bounded, so a rate that is too large does not blow up but stops to help: the
loss comes down until the steps are as large as it can take, and stays there or rises. The peak
of the schedule stands well below that rate. Devices of much gain take more than others.

Up to twice the peak, the test is the warm-up of the run: training goes on from the weights that it
had there, and only what came after is thrown away. All its steps and its time are counted.
"""

import math
from collections.abc import Sequence

import numpy as np

STEPS = 65  # at most
FIRST_RATE, LAST_RATE = 1e-3, 0.1
SMOOTHING = 0.8  # of the loss, a step
NEAR = 1.5  # re the lowest loss: there the steps are about as large as they may be
BELOW = 3.5  # by how much the peak stands below that rate
LEAST, MOST = 5e-3, 1.2e-2  # what has been found to suit any device
FURTHER = 2.0  # re the peak: up to there the weights of the test are better than those before
USUAL = LEAST  # where there is no time for a test
RISEN = 2.0  # re the lowest loss: what is to come tells nothing new


def rate_at(step: int) -> float:
    """Learning rate of a step of the test, from 0 on."""
    return FIRST_RATE * (LAST_RATE / FIRST_RATE) ** (step / (STEPS - 1))


def is_over(losses: Sequence[float]) -> bool:
    """Whether the losses so far tell the peak.

    They do after `STEPS`, when one is not finite, and when they have risen from their lowest
    beyond the rates that make the peak differ.
    """
    if len(losses) >= STEPS or not all(map(math.isfinite, losses)):
        return True
    if len(losses) == 0 or rate_at(len(losses) - 1) < LEAST * BELOW:
        return False
    smoothed = _smoothed(losses)
    return smoothed[-1] > RISEN * min(smoothed)


def peak_from(losses: Sequence[float]) -> float:
    """Peak of the schedule, from the loss of every step of a test.

    Parameters
    ----------
    losses : sequence of float
        Before each step, re the power of its windows; one that is not finite ends the test.
    """
    smoothed = _smoothed(losses)
    if not smoothed:
        return LEAST
    enough = NEAR * min(smoothed)
    first = next(step for step, loss in enumerate(smoothed) if loss <= enough)
    return float(np.clip(rate_at(first) / BELOW, LEAST, MOST))


def _smoothed(losses):
    """Those before the first that is not finite."""
    smoothed: list[float] = []
    for loss in losses:
        if not math.isfinite(loss):
            break
        before = smoothed[-1] if smoothed else loss
        smoothed.append(SMOOTHING * before + (1.0 - SMOOTHING) * loss)
    return smoothed

"""A training that goes wrong is noticed, taken back some steps, and goes on more slowly.

Wrong is a loss, a gradient or weights that are not finite, and a loss that has risen far above
what was reached before. Then weights, average and optimiser become what they were when all was
well, the learning rate is halved for the rest of the run, and the next step takes the next
windows. A training that has to be taken back again and again has failed.

All of it is part of the state that is saved, so an interrupted run takes the same turns.
"""

import math
from collections.abc import Callable

import numpy as np

KEEP_STEPS = 32  # between two states that are kept: the older of the last two is returned to
RECENT = 8  # losses whose mean is judged: a batch of loud windows alone is no divergence
RISE = 20.0  # of that mean, re the power of the same windows, over the lowest before
LARGE = 0.5  # and of the mean itself, re the target's power, 1: a bad moment does not disturb
MOST = 8  # times that a run may be taken back
RATE_FACTOR = 0.5  # of the learning rate, each time

State = dict[str, np.ndarray]


class Guard:
    """What a run can be taken back to.

    Parameters
    ----------
    state : callable
        Gives the arrays of the run that are taken back, copied.
    """

    def __init__(self, state: Callable[[], State]):
        self._state = state
        self._good: list[State] = []
        self._recent: list[tuple[float, float]] = []  # loss, and power of the target
        self._lowest = math.inf
        self._since = 0  # steps since the last state was kept
        self.rollbacks = 0

    @property
    def rate(self) -> float:
        """By what the learning rate is to be multiplied."""
        return RATE_FACTOR**self.rollbacks

    def begin(self) -> None:
        """Keep what the run begins with, where nothing is kept yet."""
        if not self._good:
            self._good = [self._state()]

    def objection(self, loss: float, power: float = 1.0) -> str | None:
        """Why a step is not to be trusted, by its loss and its windows' power; None to go on.

        Loud windows have large losses, and after quiet ones that is no divergence.
        """
        if not math.isfinite(loss):
            return "the loss is not a number"
        self._recent = [*self._recent[1 - RECENT :], (loss, power)]
        losses, powers = (sum(each) for each in zip(*self._recent, strict=True))
        if len(self._recent) == RECENT and powers > 0.0:
            share = losses / powers
            if losses > LARGE * RECENT and share > RISE * self._lowest:
                return f"the loss has risen from {self._lowest:.2g} to {share:.2g}"
            self._lowest = min(self._lowest, share)
        return None

    def went_well(self) -> None:
        """A step was made; now and then, keep where it led."""
        self._since += 1
        if self._since == KEEP_STEPS:
            self._good = [*self._good[-1:], self._state()]
            self._since = 0

    def take_back(self) -> State | None:
        """Copies of the arrays to go on from; None when it was done too often."""
        if self.rollbacks == MOST:
            return None
        self.rollbacks += 1
        self._good = self._good[:1]
        self._recent, self._since = [], 0
        return {name: array.copy() for name, array in self._good[0].items()}

    def arrays(self) -> State:
        """What is kept, to be saved."""
        return {
            f"good{place}.{name}": array
            for place, state in enumerate(self._good)
            for name, array in state.items()
        }

    def facts(self) -> dict:
        """All else, to be saved."""
        return {
            "judged": self._recent,
            "lowest": self._lowest if math.isfinite(self._lowest) else None,
            "since": self._since,
            "rollbacks": self.rollbacks,
        }

    def restore(self, arrays: State, facts: dict) -> None:
        """Go on from what `arrays` and `facts` gave."""
        self._good = []
        for place in range(2):
            prefix = f"good{place}."
            state = {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            if state:
                self._good.append(state)
        self._recent = [(loss, power) for loss, power in facts["judged"]]
        self._since = facts["since"]
        self._lowest = math.inf if facts["lowest"] is None else facts["lowest"]
        self.rollbacks = facts["rollbacks"]

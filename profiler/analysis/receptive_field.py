"""The receptive field that a model of a device needs, why, and what a smaller one would miss.

A network without a state of its own knows of the past what its receptive field holds. Where the
device still remembers what happened before that, the network can only give an average: right for
no moment in particular.

Conventions
-----------
A receptive field is in samples, the present one included. What is missed is the largest that is
still to come *after* that long, not the value at the time itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profiler.definitions import Record

# Of the architectures that players know, at any sample rate, by the shape of their convolutions.
# Their networks prove them: tests/analysis/test_receptive_field.py.
PRESETS: Mapping[str, int] = {
    "nano": 4093,
    "feather": 4093,
    "lite": 4093,
    "standard": 4093,
    "A2": 6347,
}

FILTER_RESPONSE_SECONDS = 0.005  # of a cabinetless amp's filters, added to the longest time


@dataclass(frozen=True)
class Reach:
    """How far back one measurement says that the device remembers."""

    because: str  # a sentence without its end: "... for", "... only after"
    seconds: float
    reached: bool = True  # else it is at least so long


@dataclass(frozen=True)
class Remainder:
    """What of a change is left as time goes by."""

    seconds: np.ndarray  # (n,) ascending
    left_db: np.ndarray  # (n,)
    floor_db: float = -math.inf  # at or below it there is only noise


class Preset(Record):
    """What a model of one of the known shapes would miss."""

    names: tuple[str, ...]
    samples: int
    ms: float
    enough: bool
    settling_db: float | None  # E still to come; null where nothing stands out of the noise
    rest_db: float | None  # of the tail, re the steady peak
    gain_db: float | None  # departure of the gain still to come; null where it was not measured


class ReceptiveField(Record):
    """The recommended receptive field."""

    samples: int
    ms: float
    at_least: bool  # whether something was not seen to its end
    because: str  # a sentence
    presets: tuple[Preset, ...]


def recommended(
    reaches: Sequence[Reach],
    sample_rate: float,
    *,
    settling: Sequence[Remainder] = (),
    rest: Sequence[Remainder] = (),
    gain: Sequence[Remainder] = (),
    presets: Mapping[str, int] = PRESETS,
    filter_seconds: float = FILTER_RESPONSE_SECONDS,
) -> ReceptiveField | None:
    """The longest of some times, in samples, with the response of the device's filters.

    Parameters
    ----------
    reaches : sequence of Reach
        A time that was not seen to its end makes the result a lower bound.
    settling, rest, gain : sequences of Remainder
        E of bursts in dB, levels of tails in dB, departures of the gain in dB (their size): what
        a preset misses is read from them.
    presets : mapping of str to int
        Receptive fields in samples by name.

    Returns
    -------
    ReceptiveField or None
        None where there is nothing to tell it by.
    """
    if not reaches:
        return None
    longest = max(reaches, key=lambda reach: reach.seconds)
    unseen = [reach for reach in reaches if not reach.reached]
    samples = math.ceil((longest.seconds + filter_seconds) * sample_rate)
    milliseconds = 1e3 * samples / sample_rate
    if longest.seconds > 0.0:
        because = f"{longest.because} {1e3 * longest.seconds:.0f} ms"
    else:
        because = "nothing outlasts a period of the tone"
    because += f"; {1e3 * filter_seconds:g} ms are added for the filters."
    if unseen:
        more = max(unseen, key=lambda reach: reach.seconds)
        because = (
            f"at least, as something was not seen to its end ({more.because} more than "
            f"{1e3 * more.seconds:.0f} ms): {because}"
        )
    return ReceptiveField(
        samples=samples,
        ms=milliseconds,
        at_least=bool(unseen),
        because=because[0].upper() + because[1:],
        presets=tuple(
            Preset(
                names=tuple(name for name, size in presets.items() if size == field),
                samples=field,
                ms=1e3 * field / sample_rate,
                enough=field >= samples and not unseen,
                settling_db=_still_to_come(settling, field / sample_rate),
                rest_db=_still_to_come(rest, field / sample_rate),
                gain_db=_still_to_come(gain, field / sample_rate),
            )
            for field in sorted(set(presets.values()))
        ),
    )


def _still_to_come(remainders, seconds):
    """The largest of what is left after so long, where it stands out of the noise."""
    values = [
        float(np.max(remainder.left_db[remainder.seconds >= seconds], initial=-math.inf))
        for remainder in remainders
    ]
    heard = [
        value
        for value, remainder in zip(values, remainders, strict=True)
        if value > remainder.floor_db
    ]
    return max(heard, default=None)

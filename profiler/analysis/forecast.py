"""The forecast: how good a model of this take can become at best, before it is trained.

No model can foresee noise. Two passes of one passage through a device differ by its noise and by
all in which it does not repeat itself; half of the ESR between them is the floor that no model
gets below. Where nothing was played twice, the noise of a silence re the programme's power tells
a part of it.

Conventions
-----------
ESR as in `profiler.analysis.error`, over the programme: what is played to train, validate or test.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from profiler.analysis.error import esr_words, floor_esr, replicate_esr
from profiler.capture.alignment import AlignedCapture
from profiler.capture.silences import silences
from profiler.definitions import Record

SILENCE_SECONDS = 0.3
RINGING_SECONDS = 0.1  # at the beginning of a silence: what sounded before dies away
UNSTEADY_RATIO = 2.0  # of the floor over what noise explains: the device does not repeat itself


class Forecast(Record):
    """What a model of a take can reach."""

    schema_: Literal["ampscope.forecast/1"] = Field(default="ampscope.forecast/1", alias="schema")
    replicate_esr: float | None  # None: no passage was played twice
    noise_esr: float | None  # None: there is no silence to measure noise in
    floor_esr: float | None  # the larger that is known
    word: str | None  # that players have for the floor
    sentence: str


def forecast(capture: AlignedCapture) -> Forecast:
    """Forecast the ESR floor of a take from its repeats and its noise."""
    replicate, noise = _replicate(capture), _noise(capture)
    known = [esr for esr in (replicate and floor_esr(replicate), noise) if esr is not None]
    floor = max(known, default=None)
    word = None if floor is None else esr_words(floor)
    return Forecast(
        replicate_esr=replicate,
        noise_esr=noise,
        floor_esr=floor,
        word=word,
        sentence=_sentence(floor, word, noise),
    )


def _replicate(capture):
    """Replicate ESR over every programme passage that is played twice."""
    placed = {each.segment.name: each for each in capture.plan.placed()}
    pairs = [
        (placed[again.segment.replicate_of], again)
        for again in capture.plan.used_for("train", "validate", "test")
        if again.segment.replicate_of is not None
    ]
    if not pairs:
        return None
    first = np.concatenate([capture.response[original.slice] for original, _ in pairs])
    second = np.concatenate([capture.response[again.slice] for _, again in pairs])
    return replicate_esr(first, second) if np.any(first) or np.any(second) else None


def _noise(capture):
    """Power of the noise in the longest silence re the programme's."""
    rate = capture.sample_rate
    covered = len(capture.response) - int(np.ceil(max(capture.alignment.delay_samples, 0.0)))
    skip = round(RINGING_SECONDS * rate)
    heard = [
        capture.response[part.start + skip : min(part.stop, covered)].astype(np.float64)
        for part in silences(capture.stimulus, rate, shortest_seconds=SILENCE_SECONDS)
    ]
    programme = [
        capture.response[p.slice] for p in capture.plan.used_for("train", "validate", "test")
    ]
    quiet = max(heard, key=len, default=np.empty(0))
    if not len(quiet) or not programme:
        return None
    power = np.mean(np.square(np.concatenate(programme), dtype=np.float64))
    return float(np.var(quiet) / power) if power > 0.0 else None


def _sentence(floor, word, noise):
    if floor is None:
        return (
            "nothing in this take is played twice and nothing is silent, so how good a model of it "
            "can become is not known"
        )
    limited = (
        "noise is what limits it"
        if noise is not None and floor <= UNSTEADY_RATIO * noise
        else "the device does not repeat itself better"
    )
    if floor < 1e-4:
        return f"a perfect model would reach an ESR of {floor:.1g}: this take sets no limit"
    return f"at best a model of this take reaches an ESR of {floor:.2g}, {word}: {limited}"

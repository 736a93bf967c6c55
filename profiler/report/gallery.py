"""The figures of a measured device: one after the other, or of several devices in each.

A report shows those of one capture; a comparison lays two over each other. What a capture was not
measured for has no figure.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from profiler.analysis.analysis import Analysis
from profiler.analysis.dynamics import step_courses
from profiler.analysis.response import sweep_response
from profiler.analysis.settling import LEVELS_DB, settling_curve
from profiler.capture.alignment import AlignedCapture
from profiler.report.drawing import Drawing
from profiler.report.figures.dynamics import level_curves, level_steps
from profiler.report.figures.response import response
from profiler.report.figures.settling import settling


@dataclass(frozen=True)
class Measured:
    """A capture and what was measured on it."""

    name: str
    capture: AlignedCapture
    analysis: Analysis


@dataclass(frozen=True)
class Picture:
    """A figure with what is said about it."""

    title: str
    drawing: Drawing
    alt: str  # what it shows, for who cannot see it
    caption: str


def gallery(devices: Sequence[Measured]) -> list[Picture]:
    """Every figure that the devices can be drawn in, all of them in each.

    Parameters
    ----------
    devices : sequence of Measured
        One, or more to be laid over each other; those without a measure are left out of its figure.
    """
    return [picture for draw in _FIGURES for picture in draw(devices)]


def told_apart(devices: Sequence[Measured]) -> list[Measured]:
    """The devices under names of which none is another's."""
    seen = Counter[str]()
    apart = []
    for device in devices:
        seen[device.name] += 1
        number = f" ({seen[device.name]})" if seen[device.name] > 1 else ""
        apart.append(dataclasses.replace(device, name=f"{device.name}{number}"))
    return apart


def _settling(devices):
    found = _those(devices, lambda each: each.analysis.settling)
    if not found:
        return
    curves = [
        (f"{curve.level_dbfs:g} dBFS" if len(found) == 1 else name, curve)
        for name, each in found
        for curve in _standing_for(settling_curve(each.capture), len(found))
    ]
    yield Picture(
        "Settling",
        settling(curves, LEVELS_DB),
        f"How the response to a steady tone nears its steady state: {_list(curves)}.",
        "Bursts of a tone: how far each period still is from the steady one, by energy. The dotted "
        "lines are the levels at which settling times are read.",
    )


def _response(devices):
    for each in devices[:1]:
        if next(each.capture.plan.of_kind("sweep"), None) is None:
            continue
        swept = sweep_response(each.capture)
        yield Picture(
            "Frequency response",
            response(
                swept.frequencies, swept.magnitude_db, {2: swept.second_db, 3: swept.third_db}
            ),
            "Magnitude of the linear response over frequency, and of the second and third "
            "harmonic.",
            f"From a sweep at {swept.level_dbfs:g} dBFS. A harmonic stands at the frequency that "
            "it comes from.",
        )


def _level_curves(devices):
    found = _those(devices, lambda each: each.analysis.dynamics)
    named = [
        (name, each.analysis.dynamics) for name, each in found if each.analysis.dynamics.curves
    ]
    if named:
        yield Picture(
            "Soft and loud",
            level_curves(named),
            f"Gain and harmonics of {_list(named)} against the level of a steady tone.",
            "Above: a gain that falls is compression. Below: the second and third harmonic, which "
            "are what a harder touch adds.",
        )


def _level_steps(devices):
    found = _those(devices, lambda each: each.analysis.dynamics)
    courses = [
        (f"{course.name}" if len(found) == 1 else name, course)
        for name, each in found
        if each.analysis.dynamics.steps
        for course in _standing_for(step_courses(each.capture), len(found))
    ]
    if courses:
        yield Picture(
            "Attack and release",
            level_steps(courses),
            f"Gain in time when a tone becomes louder, and softer again: {_list(courses)}.",
            "Gain of a tone's fundamental, period by period, about the step. What changes at once "
            "is the curve above; what changes slowly is the amp giving way, or a compressor.",
        )


def _standing_for(several, devices):
    """All that was measured on one device; the last, which is the loudest, where there are more."""
    return several if devices == 1 else several[-1:]


def _those(devices, measure):
    """Name and device of those that a measure was taken of."""
    return [(each.name, each) for each in devices if measure(each) is not None]


def _list(labelled):
    return ", ".join(dict.fromkeys(label for label, _ in labelled))


_FIGURES: tuple[Callable[[Sequence[Measured]], Iterator[Picture]], ...] = (
    _settling,
    _response,
    _level_curves,
    _level_steps,
)

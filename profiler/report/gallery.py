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
from profiler.analysis.gain_recovery import gain_recoveries
from profiler.analysis.memory import scatter as scattered
from profiler.analysis.settling import LEVELS_DB, settling_curve
from profiler.capture.alignment import AlignedCapture
from profiler.report.drawing import Drawing
from profiler.report.figures.adjustment import (
    effective_constants,
    gain_recovery,
    receptive_field,
    settling,
)
from profiler.report.figures.cabinet import cabinet
from profiler.report.figures.distortion import (
    intermodulation,
    sweep_harmonics,
    thd_over_frequency,
    thd_over_level,
)
from profiler.report.figures.dynamics import level_curves, level_steps
from profiler.report.figures.memory import detection_lines, scatter, shares
from profiler.report.figures.noise import noise_spectrum, signal_to_noise
from profiler.report.figures.response import directions, excess_phase, linear_response

TOLD_HZ = 440.0  # of the bursts that are shown: more tones than that hide each other


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
        for curve in _told_bursts(settling_curve(each.capture), len(found))
    ]
    yield Picture(
        "Settling",
        settling(curves, LEVELS_DB),
        f"How the response to a steady tone nears its steady state: {_list(curves)}.",
        "Bursts of a tone: how far each period still is from the steady one, by energy. The dotted "
        "lines are the levels at which settling times are read.",
    )


def _recovery(devices):
    found = _those(devices, lambda each: each.analysis.settling)
    curves = [
        (f"{each.curve.level_dbfs:g} dBFS, {1e3 * each.curve.tone_seconds:.0f} ms", each.curve)
        if len(found) == 1
        else (name, each.curve)
        for name, device in found
        if device.analysis.settling.recoveries
        for each in _loudest(gain_recoveries(device.capture), len(found))
    ]
    if curves:
        yield Picture(
            "Gain recovery",
            gain_recovery(curves),
            f"How far the gain is off after a burst, and how long: {_list(curves)}.",
            "A soft tone sounds through the burst: when its gain is within 0.1 dB again (dotted), "
            "the device has recovered. Tails of filters do not show here, sag and blocking do.",
        )


def _needed(devices):
    found = _those(devices, lambda each: each.analysis.settling)
    if len(found) != 1:
        return
    ((_, device),) = found
    analysis = device.analysis.settling
    if any(fit.constants for burst in analysis.bursts for fit in (burst.settling, burst.tail)):
        yield Picture(
            "Time constants",
            effective_constants(analysis),
            "Effective time constants of what was seen to settle, with their 95 % intervals.",
            "At most two a curve; constants closer than 1 to 2 cannot be told apart.",
        )
    field = analysis.receptive_field
    if field is not None:
        yield Picture(
            "Receptive field",
            receptive_field(analysis),
            f"How long everything takes, and how much of it known models see; {field.samples} "
            "samples are needed.",
            field.because,
        )


def _response(devices):
    """The linear response: of one device at every level, of several at the softest."""
    found = _those(devices, lambda each: each.analysis.response)
    curves = [
        (f"{sweep.level_dbfs:g} dBFS" if len(found) == 1 else name, sweep)
        for name, each in found
        for sweep in _rising(each.analysis.response.sweeps, None if len(found) == 1 else min)
    ]
    if curves:
        yield Picture(
            "Frequency response",
            linear_response(curves),
            f"Magnitude and group delay of the linear response over frequency: {_list(curves)}.",
            "From sweeps. Where it depends on the level, the device compresses there. Group delay "
            "is re the delay that the take was aligned by.",
        )
    checks = [(_alone(name, found), each.analysis.response.phase) for name, each in found]
    checks = [(name, check) for name, check in checks if check is not None]
    if checks:
        yield Picture(
            "Excess phase",
            excess_phase(checks),
            "Phase of the linear response beyond the one that its magnitude implies.",
            "A circuit of filters has none. What slopes is a delay, what bends is a reflection, an "
            "all-pass, or a digital device.",
        )
    pairs = [(_alone(name, found), each.analysis.response.direction) for name, each in found]
    pairs = [(name, pair) for name, pair in pairs if pair is not None]
    if pairs:
        yield Picture(
            "Up and down",
            directions(pairs),
            "Difference of the responses to a sweep that goes up and to one that goes down.",
            "A device without slow memory answers both alike: the difference is noise.",
        )


def _distortion(devices):
    found = _those(devices, lambda each: each.analysis.distortion)
    named = [(name, each.analysis.distortion) for name, each in found]
    swept = [(name, each) for name, each in named if each.sweeps]
    if len(swept) == 1:
        for sweep in _rising(swept[0][1].sweeps, max):
            yield Picture(
                "Harmonics",
                sweep_harmonics(sweep),
                f"Harmonics 1 to 5 over frequency, from a sweep at {sweep.level_dbfs:g} dBFS.",
                f"From a sweep at {sweep.level_dbfs:g} dBFS. A harmonic stands at the frequency "
                "that it comes from; what is not clear of the noise is not drawn.",
            )
    curves = [
        (f"{sweep.level_dbfs:g} dBFS" if len(swept) == 1 else name, sweep)
        for name, each in swept
        for sweep in _rising(each.sweeps, None if len(swept) == 1 else max)
    ]
    if curves:
        yield Picture(
            "Distortion over frequency",
            thd_over_frequency(curves),
            f"Total harmonic distortion over the frequency that is played: {_list(curves)}.",
            "THD(F): harmonics 2 to 9, summed, re the fundamental.",
        )
    tones = [
        (label if len(found) == 1 else name, steps)
        for name, each in named
        for label, steps in _staircases(each.tones, len(found))
    ]
    if tones:
        yield Picture(
            "Distortion over level",
            thd_over_level(tones),
            f"Total harmonic distortion of steady tones against their level: {_list(tones)}.",
            "THD(F) of the steps of a staircase.",
        )


def _intermodulation(devices):
    found = _those(devices, lambda each: each.analysis.intermodulation)
    tones = [
        (f"{twin.first_hz:g} + {twin.second_hz:g} Hz" if len(found) == 1 else name, twin)
        for name, each in found
        for twin in each.analysis.intermodulation.twin_tones[: None if len(found) == 1 else 1]
    ]
    if tones:
        yield Picture(
            "Intermodulation",
            intermodulation(tones),
            f"What the device makes between two tones, against their level: {_list(tones)}.",
            "Products of the orders 2 to 5: of tones far apart re the higher tone, of tones close "
            "together re the sum of both.",
        )


def _noise(devices):
    found = _those(devices, lambda each: each.analysis.noise)
    named = [(_alone(name, found), each.analysis.noise) for name, each in found]
    at_rest = [(name, each) for name, each in named if each.third_octaves]
    if at_rest:
        yield Picture(
            "Noise",
            noise_spectrum(at_rest),
            "Noise at rest in thirds of an octave.",
            "With nothing played. Hum stands in the bands of the mains and of its multiples.",
        )
    driven = [(name, each) for name, each in named if each.driven]
    if driven:
        yield Picture(
            "Signal to noise",
            signal_to_noise(driven),
            "Signal-to-noise ratio under a steady tone against its level.",
            "What is left when the tone and its harmonics are taken out, re the tone.",
        )


def _rising(sweeps, choose):
    """The sweeps that go up; with `choose` only the softest or the loudest."""
    rising = [sweep for sweep in sweeps if sweep.direction == "up"]
    if choose is None or not rising:
        return rising
    return [choose(rising, key=lambda sweep: sweep.level_dbfs)]


def _staircases(tones, devices):
    """The steps of each staircase, named after its tone; of several devices the first only."""
    names = list(dict.fromkeys(tone.segment for tone in tones))[: None if devices == 1 else 1]
    for name in names:
        steps = [tone for tone in tones if tone.segment == name]
        yield f"{steps[0].frequency_hz:g} Hz", steps


def _alone(name, found):
    """No name where there is nothing to tell it from."""
    return name if len(found) > 1 else ""


def _memory(devices):
    found = _those(devices, lambda each: each.analysis.memory)
    if len(found) == 1:
        ((_, device),) = found
        at = _told(device.analysis.memory.levels)
        yield Picture(
            "Output against input",
            scatter(scattered(device.capture)),
            "Samples of the output against the input, and the best curve through them.",
            f"{at.material.capitalize()} at {at.level_dbfs:g} dBFS. A device without memory is a "
            f"line without width. The best curve explains {100 * at.static_r2:.1f} %, the best "
            f"filter {100 * at.linear_r2:.1f} %.",
        )
        if at.lines is not None:
            yield Picture(
                "Odd and even",
                detection_lines(at.lines),
                "Level of odd and of even distortion over frequency, and the noise.",
                f"A multisine of odd lines at {at.level_dbfs:g} dBFS: what comes back on lines "
                "that were not played.",
            )
    named = [(_alone(name, found), each.analysis.memory) for name, each in found]
    if named:
        yield Picture(
            "Memory",
            shares(named),
            "Shares that the best curve and the best filter explain, against level.",
            "R2 of the best curve of output against input, and of the best filter; a star is "
            "guitar. Above the dotted line a model can do without the other.",
        )


def _told(levels):
    """The loudest multisine, or the guitar where there is none."""
    multisines = [at for at in levels if at.material == "multisine"]
    return multisines[-1] if multisines else levels[0]


def _cabinet(devices):
    found = _those(devices, lambda each: each.analysis.cabinet)
    named = [(_alone(name, found), each.analysis.cabinet) for name, each in found]
    if named:
        yield Picture(
            "Cabinet",
            cabinet(named),
            "Magnitude of the cabinet over frequency, and coherence.",
            "From the DI to the microphone of one take. Where the coherence is below the dotted "
            "line, noise or a second path has a part in it.",
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


def _told_bursts(curves, devices):
    """Bursts of the tone nearest to 440 Hz; of several devices the loudest each."""
    told = min((each.frequency for each in curves), key=lambda each: abs(each - TOLD_HZ))
    chosen = sorted(
        (each for each in curves if each.frequency == told), key=lambda each: each.level_dbfs
    )
    return chosen if devices == 1 else chosen[-1:]


def _loudest(recoveries, devices):
    """All of one device; of several the one from the loudest burst each, the longest of those."""
    if devices == 1:
        return recoveries
    return [max(recoveries, key=lambda each: (each.curve.level_dbfs, each.curve.tone_seconds))]


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
    _recovery,
    _needed,
    _response,
    _distortion,
    _intermodulation,
    _memory,
    _level_curves,
    _level_steps,
    _noise,
    _cabinet,
)

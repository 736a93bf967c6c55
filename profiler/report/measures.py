"""What was measured, in a few words each: for the page and for the terminal.

A line says what a guitarist asks; the numbers behind it are in `analysis.json`.
"""

from collections.abc import Iterator

import numpy as np

from profiler.analysis.analysis import Analysis
from profiler.report.drawing import known

BAND_DB = 3.0  # below the highest, where a band ends
TOLD_DB = (-20, -40, -60)  # settling and rest
TOLD_HZ = 1000.0  # where distortion is told

Fact = tuple[str, str]  # name and value; a value may have several lines


def measured_facts(analysis: Analysis) -> list[Fact]:
    """Name and value of all that an analysis holds, in the order of a look at an amp."""
    found = [
        fact
        for measure, words in (
            (analysis.noise, _noise),
            (analysis.settling, _settling),
            (analysis.response, _response),
            (analysis.distortion, _distortion),
            (analysis.intermodulation, _intermodulation),
            (analysis.memory, _memory),
            (analysis.dynamics, _dynamics),
            (analysis.cabinet, _cabinet),
        )
        if measure is not None
        for fact in words(measure)
    ]
    if analysis.noise is None:
        found.insert(0, ("noise floor", "not known"))
    return found


def _noise(noise) -> Iterator[Fact]:
    if noise.rms_dbfs is None:
        yield "noise floor", "nothing at all"
    else:
        yield "noise floor", f"{noise.rms_dbfs:.1f} dBFS RMS, {noise.a_weighted_dbfs:.1f} dB(A)"
    if noise.hum is not None:
        hum = noise.hum
        yield "hum", f"{hum.mains_hz} Hz, {hum.rms_dbfs:.1f} dBFS RMS, from a {hum.origin}"
    if noise.gate is not None:
        yield "gate", f"soft sounds are {noise.gate.drop_db:.0f} dB down"


def _settling(settling) -> Iterator[Fact]:
    for name, times in (("settling time", "settling_ms"), ("rest time", "rest_ms")):
        lines = [
            f"{burst.frequency:g} Hz at {burst.level_dbfs:g} dBFS: {_times(getattr(burst, times))}"
            + ("" if burst.steady else ", not yet steady")
            for burst in settling.bursts
        ]
        yield name, "\n".join(lines)
    lines = [
        f"{each.departure_db:+.1f} dB after {each.tone_ms:.0f} ms at {each.level_dbfs:g} dBFS, "
        + (
            f"back after {each.recovery_ms:.0f} ms"
            if each.recovery_ms is not None
            else "not seen to come back"
        )
        for each in settling.recoveries
    ]
    if lines:
        yield "gain recovery", "\n".join(lines)
    yield "kind of memory", f"{settling.memory.kind}: {settling.memory.because}"
    field = settling.receptive_field
    if field is not None:
        least = "at least " if field.at_least else ""
        yield (
            "receptive field",
            f"{least}{field.samples} samples ({field.ms:.0f} ms) recommended\n{field.because}",
        )


def _times(times):
    reached = (
        f"{times[at]:.0f} ms to {at} dB" if times[at] is not None else None
        for at in map(str, TOLD_DB)
    )
    return ", ".join(filter(None, reached)) or "not reached"


def _response(response) -> Iterator[Fact]:
    lines = []
    for sweep in response.sweeps:
        level, frequency = known(sweep.magnitude_db), np.array(sweep.frequency_hz)
        if not np.isfinite(level).any():
            continue
        within = frequency[level > np.nanmax(level) - BAND_DB]
        lines.append(
            f"{sweep.level_dbfs:g} dBFS: {_hertz(within[0])} to {_hertz(within[-1])} within "
            f"{BAND_DB:g} dB" + (" (down)" if sweep.direction == "down" else "")
        )
    if lines:
        yield "response", "\n".join(lines)
    if response.phase is not None:
        excess = response.phase.excess_phase_rms_degrees
        yield (
            "phase",
            "as its magnitude implies: a circuit of filters"
            if response.phase.is_minimum_phase
            else f"{excess:.0f}° beyond what its magnitude implies",
        )
    if response.direction is not None and response.direction.difference_rms_db is not None:
        yield (
            "up against down",
            f"{response.direction.difference_rms_db:.0f} dB, noise "
            f"{response.direction.floor_rms_db:.0f} dB",
        )


def _distortion(distortion) -> Iterator[Fact]:
    lines = []
    for sweep in distortion.sweeps:
        at = int(np.argmin(np.abs(np.log(np.array(sweep.frequency_hz) / TOLD_HZ))))
        value = sweep.thd_percent[at]
        words = "below the noise" if value is None else _percent(value)
        if sweep.direction == "up":
            lines.append(f"{sweep.level_dbfs:g} dBFS: {words}")
    if lines:
        yield f"THD at {_hertz(TOLD_HZ)}", "\n".join(lines)


def _intermodulation(intermodulation) -> Iterator[Fact]:
    lines = []
    for twin in intermodulation.twin_tones:
        loudest = twin.steps[-1]
        words = "below the noise" if loudest.imd_percent is None else _percent(loudest.imd_percent)
        lines.append(
            f"{_hertz(twin.first_hz)} and {_hertz(twin.second_hz)} at "
            f"{loudest.level_dbfs:g} dBFS: {words}"
        )
    yield "intermodulation", "\n".join(lines)


def _dynamics(dynamics) -> Iterator[Fact]:
    lines = []
    for curve in dynamics.curves:
        if curve.fallen_1db_dbfs is None:
            lines.append(f"{_hertz(curve.frequency_hz)}: none")
            continue
        ratio = "" if curve.ratio is None else f", then {curve.ratio:.1f} to 1"
        lines.append(
            f"{_hertz(curve.frequency_hz)}: 1 dB at {curve.fallen_1db_dbfs:.1f} dBFS{ratio}"
        )
    if lines:
        yield "compression", "\n".join(lines)
    for playing in dynamics.playing:
        yield (
            f"dynamics of {playing.kind}",
            f"{playing.range_played_db:.0f} dB become {playing.range_returned_db:.0f} dB, crest "
            f"{playing.crest_played_db:.0f} becomes {playing.crest_returned_db:.0f} dB",
        )


def _memory(memory) -> Iterator[Fact]:
    lines = [
        f"{at.material} at {at.level_dbfs:g} dBFS: {at.word}; curve {100 * at.static_r2:.1f} %, "
        f"filter {100 * at.linear_r2:.1f} %"
        for at in memory.levels
    ]
    yield "memory", "\n".join(lines)


def _cabinet(cabinet) -> Iterator[Fact]:
    ends = (cabinet.lowest_hz, cabinet.highest_hz)
    band = " to ".join("beyond" if end is None else _hertz(end) for end in ends)
    yield "cabinet", f"{band} within 10 dB, {cabinet.length_ms:.0f} ms long"


def _percent(value):
    return f"{value:.0f} %" if value >= 10.0 else f"{value:.2g} %"


def _hertz(frequency):
    return f"{frequency / 1e3:.3g} kHz" if frequency >= 1e3 else f"{frequency:.3g} Hz"

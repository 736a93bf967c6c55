"""What an export did to a file: normalised, lifted over full scale, cut to 16 bits, made an MP3.

Importing a pair repairs what can be repaired (a tail, an offset, equal channels) and keeps an
account of it, which is told here; two different channels it refuses. What remains are changes of
the samples themselves, which no import can take back.

Conventions
-----------
Levels are peaks in dBFS of the response as the file has it.
"""

from collections.abc import Iterator

import numpy as np
import scipy.signal

from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.silences import silences
from profiler.units import peak_dbfs, power_to_db

NORMALISED_DB = 0.001  # about full scale; a take's own peak is nowhere in particular
OVER_DB = 0.5  # over full scale; noise alone lifts a loop's peak by less
MOST_AT_PEAK = 2  # samples of a normalised file: more, and it was cut off there
SIXTEEN_BIT_STEPS = 2**15

# Where an encoder ends the treble; converters end it later, and an echo of a marker at 15 kHz.
EDGE_HZ = (16_000.0, 19_200.0)
EDGE_STEP_HZ = 100.0
BELOW_HZ = (900.0, 450.0)  # the noise is compared from so far to so far below the edge
ABOVE_HZ = (250.0, 1100.0)  # and above it
EDGE_LIMIT_DB = 20.0
# And what is left above it is less than any converter's noise, -126 dBFS RMS over 24 kHz: without
# that, the echo of a marker, which ends at 15 kHz, would do.
LEFT_DB_PER_HZ = -170.0
WELCH_SECONDS = 0.02
RINGING_SECONDS = 0.1  # at the beginning of a silence, not listened to
SHORTEST_SECONDS = 0.2  # of what is left of it


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What the files of a take say of how they were exported."""
    yield from length(evidence)
    yield from full_scale(evidence)
    yield from sixteen_bits(evidence)
    yield from lossy(evidence)
    for repair in evidence.repairs:
        yield _finding("note", None, None, "", repair, "nothing: it was repaired")


def length(evidence: Evidence) -> Iterator[Finding]:
    """A response that goes on after the stimulus."""
    extra = len(evidence.response) - len(evidence.stimulus)
    if extra > 0:
        seconds = extra / evidence.sample_rate
        yield _finding(
            "note",
            seconds,
            0.0,
            "s",
            f"the response is {seconds:.2f} s longer than the stimulus",
            "cut it where the stimulus ends, as ampscope import does",
        )


def full_scale(evidence: Evidence) -> Iterator[Finding]:
    """A peak above full scale, or so exactly on it that it was put there."""
    level = peak_dbfs(evidence.response)
    again = "export it again as recorded, without normalising and without gain"
    if evidence.stream is not None and evidence.stream.driver != "file":
        return  # as it was recorded: a loop may well reach full scale
    if level > OVER_DB:
        cause = f"the response peaks at {level:+.1f} dBFS: it was made louder after the recording"
        yield _finding("warn", level, 0.0, "dBFS", cause, again)
    elif abs(level) <= NORMALISED_DB:
        magnitudes = np.abs(evidence.response)
        if np.count_nonzero(magnitudes == np.max(magnitudes)) <= MOST_AT_PEAK:
            cause = "the response peaks exactly at full scale: it was normalised"
            yield _finding("warn", level, -NORMALISED_DB, "dBFS", cause, again)


def sixteen_bits(evidence: Evidence) -> Iterator[Finding]:
    """A response that fits 16 bits, though it is stored in more.

    In a take of our own a loop tells whether the interface's path is that narrow.
    """
    is_file = evidence.stream is not None and evidence.stream.driver == "file"
    if evidence.loop is not None and not is_file:
        return
    steps = SIXTEEN_BIT_STEPS * evidence.response
    if np.any(steps) and np.array_equal(steps, np.round(steps)):
        yield _finding(
            "warn",
            16.0,
            24.0,
            "bits",
            "every sample fits 16 bits: rounded, or dithered, when it was recorded or exported",
            "record and export with 24 bits or float: quiet tails drown in the rounding",
        )


def lossy(evidence: Evidence) -> Iterator[Finding]:
    """Noise that ends at a wall below 19 kHz: an MP3 or its like was decoded."""
    frequencies, power = _noise_spectrum(evidence)
    if not np.any(power):
        return
    drop, edge = max(
        (_drop(frequencies, power, edge), edge) for edge in np.arange(*EDGE_HZ, EDGE_STEP_HZ)
    )
    if drop > EDGE_LIMIT_DB:
        yield _finding(
            "stop",
            drop,
            EDGE_LIMIT_DB,
            "dB",
            f"everything ends at {edge / 1000:.1f} kHz, even the noise, by {drop:.0f} dB at once: "
            "the file was an MP3 or its like",
            "use the recording itself (WAV, AIFF or FLAC): what an encoder left out is gone",
        )


def _noise_spectrum(evidence):
    """Power over frequency of the response in its longest silence, or in all of it."""
    rate = evidence.sample_rate
    delay = 0
    if evidence.aligned is not None:
        delay = round(evidence.aligned.alignment.delay_samples)
    skip = round(RINGING_SECONDS * rate)
    parts = [slice(p.start + skip, p.stop) for p in silences(evidence.stimulus, rate)]
    longest = max(parts, key=lambda part: part.stop - part.start, default=slice(0, 0))
    noise = evidence.response[max(longest.start + delay, 0) : max(longest.stop + delay, 0)]
    if len(noise) < SHORTEST_SECONDS * rate or not np.any(noise):
        noise = evidence.response
    frames = min(round(WELCH_SECONDS * rate), len(noise))
    return scipy.signal.welch(noise, rate, nperseg=frames)


def _drop(frequencies, power, edge):
    """How much less there is above an edge than below it, in dB."""
    below = power[(frequencies > edge - BELOW_HZ[0]) & (frequencies < edge - BELOW_HZ[1])]
    above = power[(frequencies > edge + ABOVE_HZ[0]) & (frequencies < edge + ABOVE_HZ[1])]
    if not len(above) or not np.any(below) or power_to_db(np.mean(above)) > LEFT_DB_PER_HZ:
        return 0.0
    return float(power_to_db(np.mean(below) / max(np.mean(above), np.finfo(float).tiny)))


def _finding(severity, measured, limit, unit, cause, action):
    return Finding(
        name="file-hygiene",
        severity=severity,
        measured=measured,
        limit=limit,
        unit=unit,
        cause=cause,
        action=action,
    )

"""Why a take does not follow its stimulus: the likely cause, in one line.

Nothing here decides whether a take is good. It is asked when one is not, and tries what
people do: the cable, the wrong file, the wrong rate label, a cut.
"""

import numpy as np

from profiler.capture import delay as delays
from profiler.definitions import available
from profiler.errors import CaptureError, NotAligned, ProfilerError, Silent
from profiler.stimulus.marker import code
from profiler.stimulus.plan import (
    MARKER_CODE_SECONDS,
    SAMPLE_RATES,
    Placed,
    SignalPlan,
    load_signal,
)
from profiler.units import peak_dbfs

SILENT_DBFS = -90.0  # peak: below the noise of any converter in use
NOISE_ONLY_DB = 3.0  # how much louder than its quietest part a take of something is
LEAST_BANDWIDTH_HZ = 500.0  # of a programme that a delay can be read from
SURE_DB = 9.0  # confidence of a marker that is there
SURE_OF_RATE_DB = 14.0  # many rates are tried, and chance reaches 10

CHECK_WIRING = (
    "check that the device is on, its volume up, and its output wired to the return channel of "
    "the rig"
)


def refuse_silence(response: np.ndarray) -> None:
    """Raise `Silent` for a response that holds nothing."""
    level = peak_dbfs(response)
    if level < SILENT_DBFS:
        raise Silent(f"nothing came back (peak {level:.0f} dBFS)", CHECK_WIRING, fault="no-signal")


def unmatched(plan: SignalPlan, stimulus, response) -> CaptureError:
    """The error for a response in which the head marker, or any programme, is not found."""
    rate = plan.sample_rate
    markers = list(plan.of_kind("marker"))
    quiet, loud = _levels(response, rate)
    if loud - quiet < NOISE_ONLY_DB:
        return Silent(f"only noise came back ({loud:.0f} dBFS)", CHECK_WIRING, fault="no-signal")
    if len(markers) < 2:
        if _bandwidth(stimulus, rate) < LEAST_BANDWIDTH_HZ:
            return NotAligned(
                f"the stimulus {plan.name!r} has no wideband part to align by",
                "record one with markers (ampscope signal make writes them), or give the delay "
                "(--delay)",
            )
        return NotAligned(
            f"the response does not follow the stimulus {plan.name!r} at any delay from -0.1 to "
            "1 s",
            "is it of another stimulus, another take, or at another speed? If they do belong "
            "together, give the delay (--delay)",
            fault="wrong-stimulus",
        )
    others = (other for other in SAMPLE_RATES if other != rate)
    # a clock that is slow against the other shortens what a fast one lengthens
    for other, apparent in ((o, a) for o in others for a in (o, round(rate**2 / o))):
        if _matches_rate(plan, markers, response, apparent):
            return NotAligned(
                f"the response was played or recorded at {other} Hz but is labelled {rate} Hz",
                f"set every device and project to {rate} Hz, and take it again",
                fault="wrong-rate",
                size=apparent / rate,
            )
    anywhere = [
        (*delays.matched_code(_code_of(stimulus, m, rate), response, rate, 0, len(response)), m)
        for m in markers
    ]
    start, confidence, placed = max(anywhere, key=lambda found: found[1])
    if confidence >= SURE_DB:
        return _cut(plan, markers, placed, start)
    name = _other_signal(plan, response)
    if name is not None:
        return NotAligned(
            f"the response is of the signal {name!r}, not of {plan.name!r}",
            "choose the stimulus that was played",
            fault="wrong-stimulus",
        )
    return NotAligned(
        f"no marker of the signal {plan.name!r} is in the response",
        "was another file played, is the level lost in noise, or does an effect (pitch, reverse, "
        "heavy modulation) change it?",
        fault="wrong-stimulus",
    )


def missing_marker(plan: SignalPlan, stimulus, response, placed: Placed, lag: int) -> NotAligned:
    """The error for a marker that is not where the head marker says."""
    rate = plan.sample_rate
    at = placed.start / rate
    markers = list(plan.of_kind("marker"))
    if placed.stop + lag > len(response):
        return NotAligned(
            f"the response ends before the marker {placed.segment.name!r} ({at:.1f} s), it is "
            "truncated",
            "record until the stimulus has ended",
            fault="truncated",
            at_seconds=at,
        )
    start = _found_at(_code_of(stimulus, placed, rate), response, rate)
    if start is not None:
        change = start - placed.start - lag
        return NotAligned(
            f"the marker {placed.segment.name!r} is {abs(change)} samples "
            f"{'late' if change > 0 else 'early'}, so many were "
            f"{'repeated' if change > 0 else 'lost'} before {at:.2f} s",
            "take it again",
            fault="repeated-block" if change > 0 else "lost-block",
            at_seconds=at,
            size=abs(change),
        )
    if placed == markers[-1]:
        return NotAligned(
            f"the tail marker, due at {at:.1f} s, is not in the response, it is truncated, or the "
            "device fell silent",
            "record until the stimulus has ended",
            fault="truncated",
            at_seconds=at,
        )
    return NotAligned(
        f"the marker {placed.segment.name!r}, due at {at:.1f} s, is not in the response",
        "the take was interrupted there, or the device muted; take it again",
        fault="standby",
        at_seconds=at,
    )


def cut_marker(placed: Placed, is_head: bool, rate: int) -> NotAligned:
    """The error for a head marker whose beginning, or a tail marker whose end, is not there."""
    edge, at, when = (
        ("beginning", placed.start, "start recording before playing")
        if is_head
        else ("end", placed.stop, "record until the stimulus has ended")
    )
    return NotAligned(
        f"the {edge} of the marker {placed.segment.name!r} is not in the response, it is truncated",
        f"{when}, and let the interface wake up first",
        fault="truncated",
        at_seconds=at / rate,
    )


def too_noisy(plan: SignalPlan) -> NotAligned:
    """The error for a take that is found, but of which too little is above the noise."""
    return NotAligned(
        f"less than an octave of the response to {plan.name!r} is above its noise",
        "raise the send or the return, or record with a loopback channel",
        fault="no-signal",
    )


def _levels(response, rate):
    """RMS of the quietest and the loudest tenth of a second, dBFS."""
    block = rate // 10
    blocks = np.asarray(response[: len(response) // block * block]).reshape(-1, block)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    power = power[power > 0.0]  # digital zeros before the interface woke up
    if power.size == 0:
        return -np.inf, -np.inf
    return 10 * np.log10(np.min(power)), 10 * np.log10(np.max(power))


def _bandwidth(stimulus, rate):
    """Width that a flat spectrum of the stimulus's power and peak would have, in Hz."""
    frames = delays.frames_of(rate)
    power = np.zeros(frames // 2 + 1)
    for start in range(0, max(len(stimulus) - frames, 0) + 1, frames):
        power += np.abs(np.fft.rfft(delays.piece(stimulus, start, frames))) ** 2
    return float(np.sum(power) / (np.max(power) + 1e-300) * rate / frames)


def _code_of(stimulus, placed, rate):
    return stimulus[placed.start : placed.start + round(MARKER_CODE_SECONDS * rate)]


def _found_at(played, response, rate):
    """First sample of a marker's code anywhere in the response, or None."""
    lag, confidence = delays.matched_code(played, response, rate, 0, len(response))
    return lag if confidence >= SURE_DB else None


def _cut(plan, markers, placed, start):
    rate = plan.sample_rate
    lag = start - placed.start
    if markers[0].start + lag < 0:
        return NotAligned(
            f"the head marker is not in the response, which begins {-lag / rate:.2f} s into the "
            "stimulus, it is truncated",
            "start recording before playing",
            fault="truncated",
            at_seconds=markers[0].start / rate,
        )
    if placed == markers[0]:
        return NotAligned(
            f"the response lies {lag / rate:+.3f} s from the stimulus, expected -0.1 to 1 s",
            "move it, or cut its beginning",
            fault="latency-changed",
            size=lag,
        )
    return NotAligned(
        f"the head marker is not in the response though {placed.segment.name!r} is",
        "its beginning is cut, muted or damaged; take it again",
        fault="truncated",
        at_seconds=markers[0].start / rate,
    )


def _matches_rate(plan, markers, response, other):
    """Whether a marker is in the response as it would be made for another rate."""
    found = (
        delays.matched_code(
            plan.gain * code(plan.identity, m.segment.name, other),
            response,
            other,
            0,
            len(response),
        )
        for m in (markers[0], markers[-1])
    )
    return any(confidence >= SURE_OF_RATE_DB for _, confidence in found)


def _other_signal(plan, response):
    """Name of a known signal whose head marker is in the response."""
    for name in available("signals"):
        try:
            other = load_signal(name).plan(plan.sample_rate).bracketed()
        except ProfilerError:  # a user's file that is no definition: not what is asked here
            continue
        if other.identity == plan.identity:
            continue
        head = next(other.of_kind("marker"))
        played = code(other.identity, head.segment.name, plan.sample_rate)
        if _found_at(played, response, plan.sample_rate) is not None:
            return name
    return None

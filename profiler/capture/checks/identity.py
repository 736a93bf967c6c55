"""Is it the device that was recorded, and nothing else beside it?

Conventions
-----------
Levels *re the send* are of the response in the markers over the stimulus in the markers.
"""

from collections.abc import Iterator

import numpy as np
import scipy.fft

from profiler.capture import delay as delays
from profiler.capture.alignment import Alignment
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding, refused
from profiler.capture.diagnosis import CHECK_WIRING
from profiler.units import amplitude_to_db, power_to_db

LEAST_LEVEL_DB = -60.0  # re the send; crosstalk lies below
STANDBY_DB = -40.0  # under what the device gives elsewhere, or re the send all along
STANDBY_SECONDS = 0.25  # of programme that a muted device leaves out
BLOCK_SECONDS = 0.05
LOUD_DB = -30.0  # re the loudest block of its kind: softer ones are not asked

WIRE_ESR = 1e-4
WIRE_BAND_HZ = (1000.0, 15_000.0)  # above what couplings do to the phase
LEAST_SNR = 20.0  # of a line in that band, re the noise: else it is not asked

EARLY_DB = -50.0  # of a dry copy re the device's sound
EARLY_SECONDS = 0.0015  # nearer to it, converters ring and a window is wide
OVER_FLOOR_DB = 14.0  # by which a copy stands out of what else is there

RISE_DB = 6.0  # of the level while silence plays
RING_OUT_SECONDS = 0.3
LOUDEST_SILENCE_DB = -6.0  # re the programme
AUDIBLE_DBFS = -80.0  # peak


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What else than the device is heard."""
    yield from wrong_stimulus(evidence)
    yield from feedback(evidence)
    yield from standby(evidence)
    yield from no_signal(evidence)
    yield from bypass(evidence)
    yield from direct_monitoring(evidence)
    yield from polarity_inverted(evidence)


def wrong_stimulus(evidence: Evidence) -> Iterator[Finding]:
    """The response is of another signal."""
    for refusal in evidence.refusals:
        if refusal.fault == "wrong-stimulus":
            yield refused(refusal, "wrong-stimulus")


def feedback(evidence: Evidence) -> Iterator[Finding]:
    """The return feeds the send: a tone that grows by itself, while silence plays too."""
    programme_db = _loudest_db(evidence)
    for first, levels_db in _silences(evidence):
        rise = levels_db[-1] - np.min(levels_db)
        grows = rise > RISE_DB and np.all(np.diff(levels_db)[np.argmin(levels_db) :] > -1.0)
        stays = np.min(levels_db) > programme_db + LOUDEST_SILENCE_DB
        if (grows or stays) and np.max(levels_db) > AUDIBLE_DBFS:
            yield Finding(
                name="feedback",
                severity="stop",
                measured=float(np.max(levels_db)),
                limit=None,
                unit="dBFS",
                at_seconds=first / evidence.sample_rate,
                cause=f"while silence plays the return {_grown(grows, rise, levels_db[-1])}: it "
                "feeds the send",
                action="turn the monitors down, switch monitoring of the return off, and take it "
                "again",
            )
            return


def _grown(grows, rise, level_db):
    return f"grows by {rise:.0f} dB" if grows else f"stays at {level_db:.0f} dBFS"


def standby(evidence: Evidence) -> Iterator[Finding]:
    """The device is muted, all along or for a part of the take."""
    action = "check standby, master volume and mute, and take it again"
    for refusal in evidence.refusals:
        if refusal.fault == "standby":
            yield refused(refusal, "standby")
            return
    level_db = _level_re_send_db(evidence)
    if level_db is not None and LEAST_LEVEL_DB <= level_db < STANDBY_DB:
        yield Finding(
            name="standby",
            severity="stop",
            measured=level_db,
            limit=STANDBY_DB,
            unit="dB",
            cause=f"the return lies {-level_db:.0f} dB under the send all along: the device is "
            "muted or on standby",
            action=action,
        )
        return
    for start, drop_db in _mute_parts(evidence):
        at = start / evidence.sample_rate
        yield Finding(
            name="standby",
            severity="stop",
            measured=drop_db,
            limit=STANDBY_DB,
            unit="dB",
            at_seconds=at,
            cause=f"from {at:.1f} s the return is {-drop_db:.0f} dB softer than the rest of the "
            "take: the device was muted",
            action=action,
        )
        return


def no_signal(evidence: Evidence) -> Iterator[Finding]:
    """Nothing of the device is heard; at most crosstalk."""
    for refusal in evidence.refusals:
        if refusal.fault == "no-signal":
            yield refused(refusal, "no-signal", limit=LEAST_LEVEL_DB)
            return
    level_db = _level_re_send_db(evidence)
    if level_db is not None and level_db < LEAST_LEVEL_DB:
        yield Finding(
            name="no-signal",
            severity="stop",
            measured=level_db,
            limit=LEAST_LEVEL_DB,
            unit="dB",
            cause=f"the return lies {-level_db:.0f} dB under the send: only crosstalk is heard",
            action=CHECK_WIRING,
        )


def bypass(evidence: Evidence) -> Iterator[Finding]:
    """The response is the stimulus, by a cable past the device; a loop is just that."""
    if evidence.is_loop or evidence.lag is None or evidence.refusals:
        return
    esr = _wire_esr(evidence)
    if esr is not None and esr < WIRE_ESR:
        yield Finding(
            name="bypass",
            severity="stop",
            measured=esr,
            limit=WIRE_ESR,
            unit="ESR",
            cause=f"but for its level the return is the send (ESR {esr:.1e}): this is a wire",
            action="switch the device on, or plug its output into the return channel",
        )


def direct_monitoring(evidence: Evidence) -> Iterator[Finding]:
    """A dry copy of the send arrives ahead of the device's sound."""
    if evidence.lag is None or evidence.refusals:
        return
    found = _early_arrival(evidence)
    if found is not None:
        early, level_db = found
        milliseconds = 1000 * early / evidence.sample_rate
        yield Finding(
            name="direct-monitoring",
            severity="stop",
            measured=level_db,
            limit=EARLY_DB,
            unit="dB",
            cause=f"a dry copy arrives {milliseconds:.1f} ms early at {level_db:.0f} dB",
            action="switch direct monitoring off",
        )


def polarity_inverted(evidence: Evidence) -> Iterator[Finding]:
    """The return is upside down: an amp may do that, a cable not."""
    if isinstance(evidence.alignment, Alignment) and evidence.alignment.polarity < 0:
        yield Finding(
            name="polarity-inverted",
            severity="warn" if evidence.is_loop else "note",
            measured=None,
            limit=None,
            unit="",
            cause="the polarity of the return is inverted"
            + ("" if evidence.is_loop else ", by the device or a cable"),
            action="swap the hot and cold wires of the cable"
            if evidence.is_loop
            else "nothing need be done: the model will invert it too",
        )


def _silences(evidence):
    """First sample and levels, in dBFS RMS block by block, of every long silence."""
    rate = evidence.sample_rate
    block, margin = round(BLOCK_SECONDS * rate), round(RING_OUT_SECONDS * rate)
    lag = evidence.lag or 0
    for placed in evidence.plan.of_kind("silence"):
        after = margin if placed.start else 0
        heard = evidence.response[placed.start + lag + after : placed.stop + lag]
        count = len(heard) // block
        if count >= 3:
            power = np.mean(np.square(heard[: count * block]).reshape(count, block), axis=1)
            yield placed.start + after, power_to_db(power + 1e-20)


def _loudest_db(evidence):
    block = round(BLOCK_SECONDS * evidence.sample_rate)
    count = len(evidence.response) // block
    blocks = np.square(evidence.response[: count * block]).reshape(count, block)
    return float(power_to_db(np.max(np.mean(blocks, axis=1), initial=0.0) + 1e-20))


def _level_re_send_db(evidence):
    """Of the loudest marker, its noise taken off; None where no marker is heard."""
    if evidence.lag is None:
        return None
    levels = []
    for placed in evidence.plan.of_kind("marker"):
        sent = evidence.stimulus[placed.slice]
        heard = delays.piece(evidence.response, placed.start + evidence.lag, len(sent))
        gain = np.dot(heard, heard) - len(sent) * _noise_power(evidence)
        levels.append(gain / np.dot(sent, sent))
    return float(power_to_db(max(max(levels), 1e-20))) if levels else None


def _noise_power(evidence):
    """Mean square of the quietest tenth of a second that was recorded."""
    block = evidence.sample_rate // 10
    count = len(evidence.response) // block
    blocks = np.square(evidence.response[: count * block]).reshape(count, block)
    return float(np.min(np.mean(blocks, axis=1)))


def _mute_parts(evidence):
    """Where the device falls silent for a while, and by how many dB, in order of time.

    Each block of programme is compared with the softest that a block as loud came back: a device
    compresses, so soft blocks have more gain, not less.
    """
    if evidence.lag is None:
        return
    block = round(BLOCK_SECONDS * evidence.sample_rate)
    count = len(evidence.stimulus) // block
    sent = np.sum(np.square(evidence.stimulus[: count * block]).reshape(count, block), axis=1)
    heard = delays.piece(evidence.response, evidence.lag, count * block).reshape(count, block)
    heard = np.sum(np.square(heard), axis=1)
    gains_db = power_to_db((heard + 1e-20) / (sent + 1e-20))
    asked = np.zeros(count, dtype=bool)
    for placed in evidence.plan.of_kind("marker", "guitar", "noise", "multisine", "probe"):
        first, last = -(-placed.start // block), placed.stop // block
        loudest = np.max(sent[first:last], initial=0.0)
        asked[first:last] = sent[first:last] > 10 ** (LOUD_DB / 10) * loudest
    if not np.any(asked):
        return
    usual = np.percentile(gains_db[asked], 90.0)
    mute = np.flatnonzero(asked & (gains_db < usual + STANDBY_DB))
    least = round(STANDBY_SECONDS / BLOCK_SECONDS)
    asked_blocks = np.flatnonzero(asked)
    order = np.searchsorted(asked_blocks, mute)
    for run in np.split(mute, np.flatnonzero(np.diff(order) > 1) + 1):
        if len(run) >= least:
            yield int(run[0]) * block, float(np.median(gains_db[run]) - usual)


def _transfer(evidence):
    """H of the take by its markers, at its whole delay."""
    rate = evidence.sample_rate
    stretches = [
        delays.marker_stretch(evidence.stimulus, evidence.response, placed, rate, evidence.lag)
        for placed in evidence.plan.of_kind("marker")
    ]
    return delays.transfer_of(stretches, rate), stretches


def _wire_esr(evidence):
    """Error to signal of the best gain and delay, noise apart; None where noise hides it."""
    if not any(evidence.plan.of_kind("marker")):
        return None
    rate = evidence.sample_rate
    transfer, stretches = _transfer(evidence)
    f = transfer.frequencies
    band = (f > WIRE_BAND_HZ[0]) & (f < min(WIRE_BAND_HZ[1], 0.4 * rate))
    power = sum(stretch.power for stretch in stretches)[band]
    cross = sum(stretch.cross for stretch in stretches)[band]
    response_power = sum(stretch.response_power for stretch in stretches)[band]
    frames = delays.frames_of(rate)
    noise = _noise_power(evidence) * frames * 2 * len(stretches)
    if np.mean(response_power) < LEAST_SNR * noise:
        return None
    found = delays.phase_delay(transfer, rate).samples - transfer.lag
    moved = np.sum((cross * np.exp(2j * np.pi * f[band] * found / rate)).real)
    signal = np.sum(response_power) - noise * np.count_nonzero(band)
    return max(1.0 - moved**2 / (np.sum(power) * signal), 0.0)


def _early_arrival(evidence):
    """By how many samples a copy is early, and its level in dB; None where there is none."""
    if not any(evidence.plan.of_kind("marker")):
        return None
    rate, lag = evidence.sample_rate, evidence.lag
    frames = 2 * delays.frames_of(rate)
    sums = np.zeros(frames // 2 + 1, dtype=complex)
    power = np.zeros(frames // 2 + 1)
    reach = frames // 2
    for placed in evidence.plan.of_kind("marker"):
        x = np.zeros(frames)
        x[reach:] = delays.piece(evidence.stimulus, placed.start, frames - reach)
        y = delays.piece(evidence.response, placed.start + lag - reach, frames)
        X, Y = scipy.fft.rfft(x), scipy.fft.rfft(y)
        sums += Y * np.conj(X)
        power += np.abs(X) ** 2
    f = scipy.fft.rfftfreq(frames, 1 / rate)
    low, high = delays.BAND_HZ[0], min(delays.BAND_HZ[1], 0.4 * rate)
    inside = np.clip((f - low) / (high - low), 0.0, 1.0)
    taper = np.sin(np.pi * inside) ** 2  # so that the band's edges do not ring
    response = np.abs(scipy.fft.irfft(taper * sums / (power + 1e-3 * np.max(power)), frames))
    main = np.max(np.concatenate([response[: reach // 4], response[-reach // 4 :]]))
    ahead = response[-min(lag + 64, reach - 1) : -round(EARLY_SECONDS * rate)]
    if len(ahead) < 64 or main == 0.0:
        return None
    peak = int(np.argmax(ahead))
    floor = np.sqrt(np.mean(np.square(ahead)))
    level_db = float(amplitude_to_db(ahead[peak] / main))
    if level_db < EARLY_DB or amplitude_to_db(ahead[peak] / floor) < OVER_FLOOR_DB:
        return None
    return len(ahead) - peak + round(EARLY_SECONDS * rate), level_db

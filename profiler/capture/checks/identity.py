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

LEAST_LEVEL_DB = -65.0  # re the send; crosstalk lies below
STANDBY_DB = -40.0  # re the send all along: a device on standby
MUTE_DB = -30.0  # re the usual gain of the take; a driven amp's spans 14 dB either way
AUDIBLE_PART = 0.05  # of a take that a device is heard in at the least
AUDIBLE_DB = -35.0  # re the largest gains: below it a device is not heard
OVER_NOISE_DB = 10.0  # that a block is expected above the noise, to be missed
STANDBY_SECONDS = 0.25  # of programme that a muted device leaves out
BLOCK_SECONDS = 0.05
STEADY_KINDS = (
    *("marker", "guitar", "noise", "multisine", "file"),
    *("probe", "reference", "staircase", "level-step", "sine"),
)
LOUD_DB = -30.0  # re the loudest block of its kind: softer ones are not asked

TELLING_HZ = 10_000.0  # up to here a device's level is told

WIRE_ESR = 1e-4
WIRE_BAND_HZ = (1000.0, 15_000.0)  # above what couplings do to the phase
LEAST_SNR = 20.0  # of a line in that band, re the noise: else it is not asked

EARLY_DB = -50.0  # of a dry copy re the device's sound
EARLY_SECONDS = 0.0015  # nearer to it, converters ring and a window is wide
OVER_FLOOR_DB = 16.0  # by which a copy stands out of what else is there

RISE_DB = 6.0  # of the level while silence plays
RING_OUT_SECONDS = 0.3
LOUDEST_SILENCE_DB = -6.0  # re the programme
HOWL_DBFS = -40.0  # RMS in silence: what grows by itself has come to that by the end


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
    silences = list(_silences(evidence))
    if not silences or silences[-1][1][-1] < HOWL_DBFS:
        return
    stays = _loudest_db(evidence) + LOUDEST_SILENCE_DB
    for first, levels_db in silences:
        quietest = int(np.argmin(levels_db))
        grows = levels_db[-1] - levels_db[quietest] > RISE_DB
        grows &= bool(np.all(np.diff(levels_db[quietest:]) > 0.0)) and evidence.lag is not None
        if grows or levels_db[quietest] > stays:
            at = first / evidence.sample_rate
            yield Finding(
                name="feedback",
                severity="stop",
                measured=float(np.max(levels_db)),
                limit=HOWL_DBFS,
                unit="dBFS",
                at_seconds=at,
                cause=f"while silence plays at {at:.1f} s the return "
                + ("grows by itself" if grows else f"howls at {levels_db[quietest]:.0f} dBFS")
                + ": it feeds the send",
                action="turn the monitors down, switch monitoring of the return off, and take it "
                "again",
            )
            return


def standby(evidence: Evidence) -> Iterator[Finding]:
    """The device is muted, all along or for a part of the take."""
    action = "check standby, master volume and mute, and take it again"
    level_db = _level_re_send_db(evidence)
    if level_db is not None and level_db < LEAST_LEVEL_DB:
        return
    for refusal in evidence.refusals:
        if refusal.fault == "standby":
            yield refused(refusal, "standby")
            return
    if level_db is not None and level_db < STANDBY_DB:
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
            limit=MUTE_DB,
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
        after = lag + margin if placed.start else 0
        heard = evidence.response[placed.start + after : placed.stop]  # whatever comes early
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
    """Of the part of the response that follows the markers; None where none is heard."""
    if evidence.lag is None or not any(evidence.plan.of_kind("marker")):
        return None
    transfer, _ = _transfer(evidence)
    inside = (transfer.frequencies > delays.BAND_HZ[0]) & (transfer.frequencies < TELLING_HZ)
    power = np.abs(transfer.response) ** 2 - transfer.variance
    return float(power_to_db(max(np.mean(power[inside]), 1e-20)))


def _noise_power(evidence):
    """Mean square of the quietest tenth of a second that was recorded."""
    block = evidence.sample_rate // 10
    count = len(evidence.response) // block
    blocks = np.square(evidence.response[: count * block]).reshape(count, block)
    return float(np.min(np.mean(blocks, axis=1)))


def _mute_parts(evidence):
    """Where the device falls silent for a while, and its gain there re the usual, in dB.

    Each block that sounds is compared with the usual block of the take. What cannot be told from
    the noise is mute if the usual gain would lift it out of the noise.
    """
    if evidence.lag is None:
        return
    block = round(BLOCK_SECONDS * evidence.sample_rate)
    count = len(evidence.stimulus) // block
    sent = np.sum(np.square(evidence.stimulus[: count * block]).reshape(count, block), axis=1)
    heard = delays.piece(evidence.response, evidence.lag, count * block).reshape(count, block)
    heard = np.sum(np.square(heard), axis=1)
    asked = np.zeros(count, dtype=bool)
    for placed in evidence.plan.of_kind(*STEADY_KINDS):
        first, last = -(-placed.start // block), placed.stop // block
        loudest = np.max(sent[first:last], initial=0.0)
        asked[first:last] = sent[first:last] > 10 ** (LOUD_DB / 10) * loudest
    noise = block * _noise_power(evidence)
    gains = np.maximum(heard - 2.0 * noise, 0.0) / (sent + 1e-20)
    usual = _usual(gains[asked])
    asked &= usual * sent > 10 ** (OVER_NOISE_DB / 10) * noise
    asked_blocks = np.flatnonzero(asked)
    mute = np.flatnonzero(gains[asked] < 10 ** (MUTE_DB / 10) * usual)
    for run in np.split(mute, np.flatnonzero(np.diff(mute) > 1) + 1):
        if len(run) >= round(STANDBY_SECONDS / BLOCK_SECONDS):
            blocks = asked_blocks[run]
            gain = np.median(heard[blocks] / sent[blocks]) / usual
            yield int(blocks[0]) * block, float(power_to_db(gain))


def _usual(gains):
    """The median of what a device gives while it is heard, even if most of a take is mute."""
    if not gains.size:
        return 0.0
    most = np.quantile(gains, 1.0 - AUDIBLE_PART)
    return np.median(gains[gains > 10 ** (AUDIBLE_DB / 10) * most])


def _transfer(evidence):
    """H of the take by its markers, at its whole delay."""
    rate = evidence.sample_rate
    stretches = [
        delays.programme_stretch(
            evidence.stimulus, evidence.response, placed.start, placed.stop, rate, evidence.lag
        )
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
    windows = 3 * len(stretches)  # half overlapped in each marker
    noise = _noise_power(evidence) * 0.375 * frames * windows  # of a Hann window's power
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

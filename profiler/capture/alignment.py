"""Alignment: how far the response lies behind the stimulus, and whether one delay says it all.

What training must take out is the interface's round trip: the amp's own filters belong to the
model. With a loopback channel the round trip is read off the send itself; with a stored
calibration of the interface it is known beforehand and checked against the take; with
neither, it is taken to be the delay in excess of the response's minimum phase, which is right
for a device made of filters and distortion and good to about a tenth of a sample.

A take in which samples were lost or repeated, or whose two clocks drift apart, is refused:
nothing that is learnt from it would be true.

Conventions
-----------
A delay is the position in the response minus the position in the stimulus, in samples.
Times are those of the stimulus, in seconds. Arrays are mono.
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal
import scipy.stats
from pydantic import Field

from profiler import wav
from profiler.capture import delay as delays
from profiler.capture import diagnosis, slips
from profiler.capture.folder import CaptureFolder
from profiler.definitions import Record
from profiler.errors import CaptureError, DefinitionError, NotAligned
from profiler.rig.faults import FaultName
from profiler.rig.rig import di_column
from profiler.stimulus.plan import SignalPlan

Reference = Literal["loopback", "calibration", "excess-phase", "given"]

# What the excess phase cannot know: how a circuit goes on beyond the band that is measured.
EXCESS_PHASE_SIGMA = 0.05
PROGRAMME_SIGMA = 3.0  # and where level and tone change all the time, H is no circuit's
CALIBRATION_TOLERANCE = 1.0  # samples between a calibration and the take
CALIBRATION_SIGMA = 0.01  # what a driver repeats to, from one opening to the next
LARGEST_DRIFT = 0.5  # samples over a take; costs an ESR of about 1e-3 at its ends

ONE_CLOCK = "play and record by one clock (one interface, or a shared word clock)"

METHOD = 3  # raised when the same take would be measured otherwise

WHOLE_TOLERANCE = 1e-3  # a delay this near a whole number is one: ESR 3e-8
SINC_HALF_LENGTH = 96  # taps each side: flat within 1e-5 to 0.46 of the sample rate
SINC_BETA = 12.0  # of its Kaiser window: -118 dB


class MarkerDelay(Record):
    """Where one marker was found."""

    at_seconds: float  # of the stimulus
    delay_samples: float
    confidence_db: float  # correlation peak over the largest other


class Alignment(Record):
    """`alignment.json`."""

    schema_: Literal["ampscope.alignment/1"] = Field(default="ampscope.alignment/1", alias="schema")
    delay_samples: float
    sigma_samples: float
    polarity: Literal[1, -1]
    reference: Reference
    drift_ppm: float | None
    drift_sigma_ppm: float | None = None
    markers: tuple[MarkerDelay, ...]


@dataclass(frozen=True)
class AlignedCapture:
    """Stimulus and response that belong together, sample by sample.

    The response is shifted by the whole delay, resampled by its fraction; its polarity
    is as recorded (it belongs to the device). Both are `(n,)` float32, n the plan's frames. The
    DI, what was recorded before the cabinet, is shifted with the response; None for none.
    """

    plan: SignalPlan
    alignment: Alignment
    stimulus: np.ndarray
    response: np.ndarray
    di: np.ndarray | None = None

    @property
    def sample_rate(self) -> int:
        return self.plan.sample_rate


def align(
    plan: SignalPlan,
    stimulus: np.ndarray,
    response: np.ndarray,
    *,
    loopback: np.ndarray | None = None,
    calibrated_delay_samples: float | None = None,
    given_delay_samples: float | None = None,
    accepted: Collection[FaultName] = (),
) -> Alignment:
    """Measure delay, polarity and drift of a take, and prove that it is whole.

    Parameters
    ----------
    plan : SignalPlan
        What was played.
    stimulus, response : (n,) float arrays
        As long as the plan.
    loopback : (n,) float array, optional
        The send, recorded in the same stream: then the delay is the loopback's.
    calibrated_delay_samples : float, optional
        The interface's round trip, measured before: then that is the delay, if the take
        agrees with it within a sample.
    given_delay_samples : float, optional
        The delay, because the user knows better.
    accepted : collection of str
        Faults that the user lets pass: slips, a drift or a changed latency are not refused, and
        the delay is the median over the take.

    Raises
    ------
    Silent
        Nothing came back, or nothing but noise.
    NotAligned
        No single delay explains the response; the message names the likely cause, and for
        lost or repeated samples where and how many.
    ValueError
        The arrays are not as long as the plan.
    """
    for name, signal in (("stimulus", stimulus), ("response", response), ("loopback", loopback)):
        if signal is not None and np.shape(signal) != (plan.frames,):
            raise ValueError(f"expected {plan.frames} frames of {name}, got {np.shape(signal)}")
    rate = plan.sample_rate
    diagnosis.refuse_silence(response)
    if loopback is not None and loopback is not response and given_delay_samples is None:
        # what the interface loses, it loses in every channel, and a cable shows it best
        with _letting_pass(accepted):
            _refuse_slipped_loop(plan, stimulus, loopback)
    try:
        found = slips.anchors(plan, stimulus, response)
    except NotAligned:
        if given_delay_samples is None:
            raise
        return _as_given(plan, stimulus, response, given_delay_samples)
    best = int(np.argmax([anchor.confidence_db for anchor in found]))
    offsets, transfer = delays.relative_delays([a.stretch for a in found], rate, best)
    absolute = np.array([anchor.stretch.lag for anchor in found]) + offsets
    with _letting_pass(accepted):
        slips.refuse_slips(
            plan, stimulus, response, found, absolute, transfer, linear=response is loopback
        )
    drift_ppm, drift_sigma_ppm = _drift(plan, found, absolute)
    if drift_ppm is not None and drift_sigma_ppm is not None:
        with _letting_pass(accepted):
            _refuse_drift(plan, drift_ppm, drift_sigma_ppm)
    own = delays.excess_delay(transfer, rate)
    if own is None:
        if given_delay_samples is not None:
            return _as_given(plan, stimulus, response, given_delay_samples)
        raise diagnosis.too_noisy(plan)

    reference: Reference = "excess-phase"
    model = EXCESS_PHASE_SIGMA if found[0].is_marker else PROGRAMME_SIGMA
    samples, sigma = own.samples, float(np.hypot(own.sigma, model))
    if given_delay_samples is not None:
        reference, samples, sigma = "given", float(given_delay_samples), 0.0
    elif loopback is not None:
        loop = _loopback_delay(plan, stimulus, loopback, found[0].stretch.lag)
        reference, samples, sigma = "loopback", loop.samples, loop.sigma
    elif calibrated_delay_samples is not None:
        with _letting_pass(accepted):
            _check_calibration(calibrated_delay_samples, own.samples, sigma)
        reference, samples = "calibration", float(calibrated_delay_samples)
        sigma = CALIBRATION_SIGMA
    centre = float(np.median(absolute))
    return Alignment(
        delay_samples=samples,
        sigma_samples=sigma,
        polarity=1 if own.polarity > 0 else -1,
        reference=reference,
        drift_ppm=drift_ppm,
        drift_sigma_ppm=drift_sigma_ppm,
        markers=tuple(
            MarkerDelay(
                at_seconds=anchor.stretch.start / rate,
                delay_samples=float(samples + at - centre),
                confidence_db=anchor.confidence_db,
            )
            for anchor, at in zip(found, absolute, strict=True)
            if anchor.is_marker
        ),
    )


def apply(
    plan: SignalPlan,
    alignment: Alignment,
    stimulus: np.ndarray,
    response: np.ndarray,
    di: np.ndarray | None = None,
) -> AlignedCapture:
    """Shift the response so that its sample k answers sample k of the stimulus, and a DI with it.

    The whole part of the delay is a shift, the fraction a windowed sinc. A delay within
    1e-3 of a whole number is that number, and then no sample is changed.
    """
    return AlignedCapture(
        plan=plan,
        alignment=alignment,
        stimulus=np.asarray(stimulus, dtype=np.float32)[: plan.frames],
        response=_shifted(response, alignment, plan.frames),
        di=None if di is None else _shifted(di, alignment, plan.frames),
    )


def _shifted(recorded, alignment, frames):
    whole = round(alignment.delay_samples)
    fraction = alignment.delay_samples - whole
    margin = 0 if abs(fraction) < WHOLE_TOLERANCE else SINC_HALF_LENGTH
    shifted = delays.piece(recorded, whole - margin, frames + 2 * margin)
    if margin:
        shifted = scipy.signal.oaconvolve(shifted, fractional_taps(fraction), mode="valid")
    return shifted.astype(np.float32)


def fractional_taps(fraction: float) -> np.ndarray:
    """A windowed sinc, `SINC_HALF_LENGTH` taps each side, that reads `fraction` samples ahead."""
    at = np.arange(-SINC_HALF_LENGTH, SINC_HALF_LENGTH + 1)
    taps = np.sinc(at + fraction) * scipy.signal.windows.kaiser(len(at), SINC_BETA)
    return taps / taps.sum()


def load_aligned(folder: CaptureFolder) -> AlignedCapture:
    """The aligned pair of a finished capture.

    The alignment is taken from `alignment.json` when it was made from the very files and by
    the knowledge that the folder and this machine have now; else it is measured and written.

    Raises
    ------
    CaptureError, NotAligned, Silent
        The files are missing or changed, or the take cannot be aligned.
    """
    # calibration measures by `align` of this module, so it cannot be imported with it
    from profiler.capture.calibration import stored_delay

    record = folder.record()
    folder.verify_unchanged()
    plan = record.plan
    stimulus, _ = wav.read_mono(folder.stimulus_path, sample_rate=plan.sample_rate)
    recorded, _ = wav.read(folder.response_path, sample_rate=plan.sample_rate)
    interface = record.rig.interface
    has_loop = interface.driver != "file" and interface.loopback_channel is not None
    loopback = recorded[:, 1] if has_loop and recorded.shape[1] > 1 else None
    calibrated = None if loopback is not None else stored_delay(record.rig, record.stream)

    basis = AlignmentBasis(
        stimulus_sha256=record.stimulus_sha256,
        response_sha256=record.response_sha256,
        calibrated_delay_samples=calibrated,
        given_delay_samples=record.given_delay_samples,
        accepted=record.accepted,
    )
    alignment = _kept(folder, basis)
    if alignment is None:
        alignment = align(
            plan,
            stimulus,
            recorded[:, 0],
            loopback=loopback,
            calibrated_delay_samples=calibrated,
            given_delay_samples=record.given_delay_samples,
            accepted=record.accepted,
        )
        alignment.save(folder.alignment_path)
        basis.save(_basis_path(folder))
    column = di_column(interface)
    di = None if column is None or column >= recorded.shape[1] else recorded[:, column]
    return apply(plan, alignment, stimulus, recorded[:, 0], di)


class AlignmentBasis(Record):
    """What an alignment was made from: it holds as long as all of this is the same."""

    stimulus_sha256: str
    response_sha256: str
    calibrated_delay_samples: float | None
    given_delay_samples: float | None
    accepted: tuple[FaultName, ...] = ()
    method: int = METHOD


def _kept(folder, basis):
    """The alignment in the folder, if it still holds."""
    try:
        if AlignmentBasis.load_json(_basis_path(folder)) == basis:
            return Alignment.load_json(folder.alignment_path)
    except DefinitionError:  # none yet, or damaged: it is measured again
        pass
    return None


def _basis_path(folder):
    return folder.alignment_path.with_name("alignment-basis.json")


def _as_given(plan, stimulus, response, delay):
    """The alignment of a pair that only its user can align."""
    shifted = delays.piece(response, round(delay), plan.frames)
    return Alignment(
        delay_samples=float(delay),
        sigma_samples=0.0,
        polarity=1 if np.dot(stimulus, shifted) >= 0.0 else -1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )


def _refuse_slipped_loop(plan, stimulus, loopback):
    try:
        found = slips.anchors(plan, stimulus, loopback)
    except CaptureError:  # no loop is heard there: the response is asked
        return
    offsets, transfer = delays.relative_delays([a.stretch for a in found], plan.sample_rate, 0)
    absolute = np.array([anchor.stretch.lag for anchor in found]) + offsets
    slips.refuse_slips(plan, stimulus, loopback, found, absolute, transfer, linear=True)


def _loopback_delay(plan, stimulus, loopback, lag):
    """The delay of the loopback channel over the whole of the sounding programme."""
    rate = plan.sample_rate
    span = slips.programme_span(plan)
    step = slips.STRETCH_SECONDS * rate
    stretches = [
        delays.programme_stretch(stimulus, loopback, start, start + step, rate, lag)
        for start in range(span.start, max(span.stop - step, span.start) + 1, step)
    ]
    return delays.phase_delay(delays.transfer_of(stretches, rate), rate)


def _drift(plan, found, absolute):
    """Drift and its sigma in ppm; None where one place alone tells the delay."""
    seconds = np.array([anchor.stretch.centre for anchor in found]) / plan.sample_rate
    if np.ptp(seconds) == 0.0:
        return None, None
    slope, start = (float(c) for c in scipy.stats.theilslopes(absolute, seconds)[:2])
    ppm = 1e6 * slope / plan.sample_rate  # the slope is in samples a second
    scatter = np.std(absolute - start - slope * seconds)
    sigma = scatter * plan.seconds / (np.std(seconds) * np.sqrt(len(seconds)))
    return ppm, float(1e6 * sigma / plan.seconds / plan.sample_rate)


def _refuse_drift(plan, ppm, sigma_ppm):
    """Refuse a take that drifts by more than half a sample."""
    drifted, sigma = (1e-6 * each * plan.sample_rate * plan.seconds for each in (ppm, sigma_ppm))
    if abs(drifted) > LARGEST_DRIFT + 3 * sigma:
        raise NotAligned(
            f"the delay drifts by {drifted:+.2f} samples over the take "
            f"({ppm:+.2f} ppm, at most {LARGEST_DRIFT:g} samples expected)",
            ONE_CLOCK,
            fault="clock-drift",
            size=ppm,
        )


@contextlib.contextmanager
def _letting_pass(accepted):
    """A refusal passes when all that it refuses was accepted."""
    try:
        yield
    except NotAligned as refusal:
        if not {refusal.fault, *(other.fault for other in refusal.others)} <= set(accepted):
            raise


def _check_calibration(calibrated, measured, sigma):
    apart = measured - calibrated
    if abs(apart) > max(CALIBRATION_TOLERANCE, 3 * sigma):
        raise NotAligned(
            f"the take lies {measured:.1f} samples behind the stimulus but the interface's "
            f"calibration says {calibrated:.1f}",
            "the latency has changed since; calibrate it again (ampscope calibrate latency) with "
            "the same settings, and take it again",
            fault="latency-changed",
            size=apart,
        )

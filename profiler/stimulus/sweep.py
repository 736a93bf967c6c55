"""The synchronised exponential sweep, and the inverse that turns its response into
impulse responses.

Source: Novak, Lotton, Simon, "Synchronized swept-sine: theory, application, and
implementation", JAES 63(10), 2015. The sweep is sin(2 pi f1 L exp(t/L)) with f1 L a whole
number: its m-th harmonic is then the sweep itself, advanced by L ln m, so after
deconvolution the harmonics' impulse responses stand L ln m before the linear one.

A sweep that goes down is the same one played backwards; its harmonics' responses stand
L ln m behind the linear one.
"""

import numpy as np

from profiler.stimulus.plan import Sweep
from profiler.units import db_to_amplitude

FADE_IN_PERIODS = 1.0  # of the first frequency
FADE_OUT_SECONDS = 0.002


def sweep(segment: Sweep, sample_rate: int) -> np.ndarray:
    """A synchronised sweep with fades, then `after_seconds` of silence.

    Parameters
    ----------
    segment : Sweep
        Frequencies, length and peak level.
    sample_rate : int
        In Hz; the sweep must end below half of it.

    Returns
    -------
    (n,) float64 array
        `segment.duration` seconds.

    Raises
    ------
    ValueError
        The last frequency is not below half the sample rate.
    """
    return db_to_amplitude(segment.level_dbfs) * harmonic(segment, sample_rate, 1)


def harmonic(segment: Sweep, sample_rate: int, order: int) -> np.ndarray:
    """The sweep's harmonic of an order as a device without memory makes it, of amplitude 1.

    Where the sweep fades by a factor, its m-th harmonic fades by the m-th power of it: so does
    the leading power of a polynomial. Order 1 is the sweep.

    Returns
    -------
    (n,) float64 array
        `segment.duration` seconds.

    Raises
    ------
    ValueError
        The last frequency is not below half the sample rate.
    """
    highest = order * segment.stop_hz
    if highest >= sample_rate / 2:
        raise ValueError(
            f"a sweep to {highest:g} Hz does not fit a sample rate of {sample_rate} Hz"
        )
    played = np.zeros(round(segment.duration * sample_rate))
    frames = min(round(segment.sweep_seconds * sample_rate), len(played))
    t = np.arange(frames) / sample_rate
    falls = segment.direction == "down"
    if falls:
        t = segment.sweep_seconds - t
    rate = segment.rate_constant
    phase = 2 * np.pi * segment.start_hz * rate * np.exp(t / rate)  # eq. 23
    tone = np.sin(order * phase)

    fade_in = min(round(FADE_IN_PERIODS * sample_rate / segment.start_hz), frames // 2)
    fade_out = min(round(FADE_OUT_SECONDS * sample_rate), frames // 2)
    fade = np.ones(frames)
    fade[:fade_in] *= _rise(fade_in)
    fade[frames - fade_out :] *= _rise(fade_out)[::-1]
    tone *= fade[::-1] ** order if falls else fade**order
    played[:frames] = tone
    return played


def inverse_spectrum(segment: Sweep, frequencies: np.ndarray) -> np.ndarray:
    """One over the spectrum of the endless sweep of amplitude 1, in continuous time.

    Of one that goes down, it is that of the sweep turned round in time about its end.

    A response's spectrum (its FFT over the sample rate) times this is the transfer function,
    at the frequencies that the sweep passes. Novak et al., eq. 43.

    Parameters
    ----------
    segment : Sweep
        The sweep that was played.
    frequencies : (m,) float array
        In Hz. The inverse is 0 at 0 Hz.

    Returns
    -------
    (m,) complex array
    """
    f = np.asarray(frequencies, dtype=float)
    rate = segment.rate_constant
    safe = np.where(f > 0, f, 1.0)
    phase = -2 * np.pi * f * rate * (1 - np.log(safe / segment.start_hz)) + np.pi / 4
    if segment.direction == "down":
        phase = 2 * np.pi * f * segment.sweep_seconds - phase
    return np.where(f > 0, 2 * np.sqrt(f / rate), 0.0) * np.exp(1j * phase)


def _rise(frames):
    return np.sin(0.5 * np.pi * np.arange(frames) / max(frames, 1)) ** 2

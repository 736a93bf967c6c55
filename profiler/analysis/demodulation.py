"""How large a tone is from moment to moment: its amplitude and phase, told from its neighbours.

The signal is turned by the tone's frequency and averaged under a Hann window. A window of w
seconds is blind to tones 2/w, 3/w ... Hz away, and 1/w is its resolution: two periods tell
the harmonics of a tone apart without leakage. It needs no whole number of samples, as it ends
at zero, with its slope.

Conventions
-----------
An amplitude is complex: `abs` is the tone's peak, `angle` its phase as a cosine at time 0, the
first sample of what was given. At 0 Hz it is the mean. A moment is the middle of its window.
"""

from collections.abc import Sequence

import numpy as np


def demodulated(
    signal: np.ndarray,
    sample_rate: float,
    frequencies: Sequence[float],
    *,
    window_seconds: float,
    hop_seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes of tones over time.

    Parameters
    ----------
    signal : (n,) float array
    frequencies : sequence of m floats
        In Hz; 0 for the mean.
    window_seconds : float
        Length of the Hann window.
    hop_seconds : float
        From one moment to the next; rounded to whole samples.

    Returns
    -------
    seconds : (k,) float array
        The moments; none where the signal is shorter than a window.
    amplitudes : (k, m) complex array

    Raises
    ------
    ValueError
        The window is shorter than three samples.
    """
    width = window_seconds * sample_rate
    half = int(np.ceil(width / 2)) - 1
    if half < 1:
        raise ValueError(f"got window_seconds={window_seconds:g}: less than three samples")
    offsets = np.arange(-half, half + 1)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * offsets / width)
    window /= window.sum()
    turns = np.asarray(frequencies, np.float64) / sample_rate
    kernel = window[:, None] * np.exp(-2j * np.pi * np.outer(offsets, turns))
    kernel *= np.where(turns == 0.0, 1.0, 2.0)
    hop = max(1, round(hop_seconds * sample_rate))
    if len(signal) < len(offsets):
        return np.empty(0), np.empty((0, len(turns)), complex)
    frames = np.lib.stride_tricks.sliding_window_view(signal, len(offsets))[::hop]
    both = frames @ np.concatenate([kernel.real, kernel.imag], axis=1)
    centres = half + hop * np.arange(len(frames))
    turned = both[:, : len(turns)] + 1j * both[:, len(turns) :]
    return centres / sample_rate, turned * np.exp(-2j * np.pi * np.outer(centres, turns))

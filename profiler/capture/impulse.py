"""The impulse responses that a sweep gives: the linear one at 0, the harmonics' before it.

The response to the sweep, multiplied by the sweep's analytic inverse, is a row of impulse
responses; that of the m-th harmonic stands L ln m before the linear one (Novak, Lotton, Simon,
JAES 63(10), 2015).
"""

import numpy as np
import scipy.fft

from profiler.stimulus.plan import Sweep
from profiler.stimulus.sweep import inverse_spectrum


def impulse_responses(response: np.ndarray, segment: Sweep, sample_rate: int) -> np.ndarray:
    """All impulse responses of a sweep of peak 1 in one circle.

    Parameters
    ----------
    response : (n,) float array
        The response to the segment, from its first sample to its last.

    Returns
    -------
    (m,) float64 array
        At least twice as long. Sample 0 is the linear response's zero; what stands before it is at
        the end. It holds the band that is swept only: elsewhere the inverse would raise the noise.
    """
    frames = scipy.fft.next_fast_len(2 * len(response), real=True)
    bins = scipy.fft.rfftfreq(frames, 1 / sample_rate)
    band = (bins >= segment.start_hz / 2) & (bins < min(1.2 * segment.stop_hz, sample_rate / 2))
    spectrum = scipy.fft.rfft(np.asarray(response, np.float64), frames) / sample_rate
    return scipy.fft.irfft(np.where(band, spectrum * inverse_spectrum(segment, bins), 0.0), frames)

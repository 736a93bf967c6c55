import numpy as np
import pytest

from profiler.stimulus.marker import HIGHEST_HZ, LOWEST_HZ, half_frames, marker
from profiler.stimulus.plan import SAMPLE_RATES, Marker
from profiler.units import peak_dbfs

IDENTITY = "0123456789abcdef"


def head(name="head", level_dbfs=-12.0):
    return Marker(name=name, kind="marker", use="align", level_dbfs=level_dbfs)


def resemblance(a, b):
    """Highest absolute normalised cross-correlation at any lag."""
    frames = 2 * len(a)
    products = np.fft.rfft(a, frames) * np.conj(np.fft.rfft(b, frames))
    return np.max(np.abs(np.fft.irfft(products))) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_its_peak_is_the_level_and_never_above_it(sample_rate):
    levels = [peak_dbfs(marker(head(level_dbfs=-6.0), str(seed), sample_rate)) for seed in range(5)]
    assert max(levels) <= -6.0 + 1e-9
    assert min(levels) > -7.0  # the highest peak may fall between two samples


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_lasts_as_long_as_its_segment(sample_rate):
    segment = head()
    assert len(marker(segment, IDENTITY, sample_rate)) == round(segment.duration * sample_rate)


def test_its_second_half_is_its_first_inverted():
    played = marker(head(), IDENTITY, 48_000)
    half = half_frames(48_000)
    np.testing.assert_array_equal(played[:half], -played[half:])


def test_is_the_same_waveform_at_every_rate():
    slow = marker(head(), IDENTITY, 48_000)
    fast = marker(head(), IDENTITY, 192_000)
    np.testing.assert_allclose(fast[::4], slow, atol=1e-12)


def test_holds_its_band_and_little_else():
    played = marker(head(), IDENTITY, 48_000)[: half_frames(48_000)]
    power = np.abs(np.fft.rfft(played)) ** 2
    frequency = np.fft.rfftfreq(len(played), 1 / 48_000)
    inside = (frequency > LOWEST_HZ - 10) & (frequency < HIGHEST_HZ + 10)
    # what lies outside comes from fades of 1 ms
    assert power[~inside].sum() < 1e-3 * power.sum()


def test_other_names_and_other_stimuli_do_not_resemble_it():
    played = marker(head(), IDENTITY, 48_000)
    assert resemblance(played, marker(head(), IDENTITY, 48_000)) == pytest.approx(1.0)
    # 2 * 0.2 s * 15 kHz = 6000 degrees of freedom, half of them repeated: 5 sigma is 0.09
    assert resemblance(played, marker(head("tail"), IDENTITY, 48_000)) < 0.12
    assert resemblance(played, marker(head(), IDENTITY[::-1], 48_000)) < 0.12


def test_has_a_crest_that_spares_the_headroom():
    played = marker(head(), IDENTITY, 48_000)[: round(0.2 * 48_000)]
    assert np.max(np.abs(played)) / np.sqrt(np.mean(played**2)) < 4.0  # 12 dB: the best of 24 draws

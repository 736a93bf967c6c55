import datetime

import numpy as np
import pytest

from profiler import wav
from profiler.analysis.cabinet import CabinetIr
from profiler.errors import ExportError
from profiler.export.impulse_response import write_nam, write_wav
from profiler.export.nam import read_linear
from profiler.rig.rig import Chain

RATE = 48_000


def resonance(gain=1.0):
    """A band pass at 800 Hz, whose power mean is not that of its peak."""
    t = np.arange(2400) / RATE
    return CabinetIr(RATE, gain * np.exp(-t / 0.004) * np.sin(2 * np.pi * 800 * t), 0)


def middle_db(samples):
    """Power mean from 100 Hz to 5 kHz over the octaves, by a sum over lines."""
    f = np.geomspace(100.0, 5000.0, 300)
    turning = np.exp(-2j * np.pi * np.outer(f, np.arange(len(samples))) / RATE)
    return 10 * np.log10(np.mean(np.abs(turning @ samples) ** 2))


@pytest.mark.parametrize("gain", [1e-3, 0.5, -20.0])
def test_both_files_hold_the_response_at_unity_whatever_the_microphone_s_gain(gain, tmp_path):
    ir = resonance(gain)
    write_wav(tmp_path / "ir.wav", ir)
    write_nam(tmp_path / "ir.nam", ir, name="4x12")
    written, rate = wav.read_mono(tmp_path / "ir.wav")
    linear = read_linear(tmp_path / "ir.nam")
    assert (rate, linear.sample_rate, linear.bias) == (RATE, RATE, 0.0)
    assert np.array_equal(written, linear.impulse)
    assert middle_db(written) == pytest.approx(0.0, abs=0.02)
    shape = written / ir.samples[np.argmax(np.abs(ir.samples))]
    assert np.ptp(shape[1:50] / ir.samples[1:50]) < 1e-6 * abs(shape[5] / ir.samples[5])
    assert np.sign(written[20]) == np.sign(ir.samples[20])  # its polarity is its own


def test_a_linear_file_says_what_it_is_of(tmp_path):
    created = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    chain = Chain(make="Ampscope", model="Twelve")
    write_nam(tmp_path / "ir.nam", resonance(), chain=chain, name="twelve", created=created)
    metadata = read_linear(tmp_path / "ir.nam").metadata
    assert (metadata["gear_make"], metadata["gear_model"]) == ("Ampscope", "Twelve")
    assert (metadata["name"], metadata["date"]["year"]) == ("twelve", 2026)


def test_whole_numbers_hold_what_fits_and_refuse_the_rest(tmp_path):
    write_wav(tmp_path / "ir.wav", resonance(), subtype="PCM_24")
    assert wav.header(tmp_path / "ir.wav").subtype == "PCM_24"
    click = CabinetIr(RATE, np.r_[2.0, np.zeros(99)] - np.r_[0.0, 1.0, np.zeros(98)], 0)
    with pytest.raises(ExportError, match=r"highest sample is .*PCM_16 cannot hold"):
        write_wav(tmp_path / "click.wav", click, subtype="PCM_16")
    assert not (tmp_path / "click.wav").exists()

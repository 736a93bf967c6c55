import numpy as np
import pytest

from profiler.analysis.noise import noise_floor_rms_dbfs
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render


def captured(name, device, rate=48_000):
    plan = load_signal(name).plan(rate)
    stimulus = render(plan).astype(np.float64)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = device(stimulus).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


@pytest.mark.parametrize("level_dbfs", [-100.0, -60.0])
def test_the_noise_floor_is_the_noise_s_and_not_the_offset_s(level_dbfs):
    rng = np.random.default_rng(0)

    def device(x):
        return x + 0.01 + 10 ** (level_dbfs / 20) * rng.standard_normal(len(x))

    measured = noise_floor_rms_dbfs(captured("quick", device))
    assert measured == pytest.approx(level_dbfs, abs=0.3)  # 19 000 samples: sigma 0.05 dB


def test_no_silence_to_measure_noise_in_is_refused():
    with pytest.raises(CaptureError, match="holds no silence"):
        noise_floor_rms_dbfs(captured("a440", lambda x: x))

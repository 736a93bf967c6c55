import numpy as np
import pytest

from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.units import Level

RATE = 48_000
LATENCY = 1234


class Loop:
    """A cable between a send and a return of known volts, that do to the sound what they are told.

    `send` makes volts of samples, `back` samples of volts; at its jack hangs a meter.
    """

    sample_rate = RATE
    channels = 1

    def __init__(self, send=lambda x: x, back=lambda volts: volts, noise_rms=1e-5):
        self._send, self._back, self._noise_rms = send, back, noise_rms
        self._random = np.random.default_rng(1)
        self.played = []  # peaks in dBFS, in order
        self.volts = np.zeros(0)  # at the jack, of the last tone

    def play_record(self, stimulus, frames, on_block, watch=None):
        samples = np.concatenate(list(stimulus)).astype(np.float64)
        self.played.append(float(20 * np.log10(np.max(np.abs(samples)))))
        self.volts = self._send(samples)
        late = np.concatenate([np.zeros(LATENCY), self.volts])[:frames]
        returned = self._back(late + self._noise_rms * self._random.standard_normal(frames))
        on_block(Block(returned.astype(np.float32)[:, None], 0))
        return StreamReport("simulated", "loop", RATE, frames, 1, (frames,))

    def read_meter(self, level_dbfs):
        """The RMS of the steady middle of the tone."""
        middle = self.volts[2 * len(self.volts) // 5 : 3 * len(self.volts) // 5]
        return Level(float(np.sqrt(np.mean(middle**2))), "Vrms")


@pytest.fixture
def loop():
    return Loop


@pytest.fixture
def rig():
    return Rig(
        name="bench",
        maximum_send_dbfs=0.0,
        interface=SimulatedInterface(driver="simulated"),
        chain=Chain(circuit="wire"),
    )


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty data folder for every test."""
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))

import numpy as np

from benchmarks import live_playing
from benchmarks.live_playing import RATE, START_SECONDS, bursts, compared
from profiler.export import nam
from profiler.model.streaming import render


def test_tells_the_delay_and_every_sample_that_is_not_the_models(tmp_path):
    model = nam.read(live_playing.random_model(tmp_path / "standard.nam")).network
    signal = bursts(START_SECONDS + 1.5)
    heard = np.concatenate([np.zeros(64, np.float32), render(model, signal)[:-64]])
    heard[:RATE] = 0.0  # while the sound comes up nothing is judged
    assert compared(model, signal, heard) == (64, 0)
    heard[4 * RATE : 4 * RATE + 37] = 0.0
    assert compared(model, signal, heard) == (64, 37)


def test_the_model_is_no_louder_than_full_scale(tmp_path):
    model = nam.read(live_playing.random_model(tmp_path / "standard.nam")).network
    assert 0.05 < np.max(np.abs(render(model, bursts(START_SECONDS + 1.0)))) < 1.0

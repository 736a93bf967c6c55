import numpy as np
import pytest

from benchmarks import stream_against_core
from benchmarks.stream_against_core import NETWORKS, PLAYER, compare, table
from profiler.kernels import paths


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernels_play_what_the_official_core_plays(name):
    assert PLAYER.is_dir(), "the player core is not installed: make test installs it"
    timings = compare(name, seconds=0.3, blocks=[64, 200])
    assert len(timings) == 2 * (1 + len(paths()))
    assert max(timing.difference for timing in timings) < 1e-5
    assert all(0.0 < t.mean_us <= t.longest_us for t in timings)
    assert name in table(timings)


def test_the_comparison_can_tell():
    arrays = NETWORKS["A1 standard"]
    weights = stream_against_core.random_weights(arrays, seed=1)
    signal = stream_against_core.signal_of(0.2)
    reference, _ = stream_against_core.core(
        stream_against_core.nam_of(arrays, weights), signal, block=128
    )
    weights[100] *= 1.001
    output, _ = stream_against_core.kernels(arrays, weights, signal, 128, paths()[0])
    assert np.std(reference) > 0.1
    assert np.max(np.abs(output - reference)[: len(signal) // 128 * 128]) > 1e-5

import numpy as np
import pytest
import torch

from profiler import kernels
from profiler.errors import ProfilerError
from profiler.model import lstm
from profiler.model.dense import Dense, DenseConfig
from profiler.model.streaming import Streamer, fast_tanh_, player_of, render
from profiler.model.wavenet import (
    ARCHITECTURES,
    LayerArray,
    Pass,
    WaveNet,
    WaveNetConfig,
    initial_weights,
    pack,
)

GATED = WaveNetConfig(
    (
        LayerArray(1, 4, 2, (1, 8, 64), gated=True),
        LayerArray(4, 2, 1, (2, 1), kernel_size=4, gated=True, head_bias=True),
    )
)
SIGNAL = 0.3 * np.random.default_rng(0).standard_normal(20_000).astype(np.float32)


def network(config, seed=0):
    return WaveNet(config, initial_weights(config, seed), 48_000)


@pytest.mark.parametrize("fast_tanh", [False, True])
@pytest.mark.parametrize("config", [ARCHITECTURES["nano"], ARCHITECTURES["standard"], GATED])
@pytest.mark.parametrize("sizes", [[64], [1, 1000, 7, 300], [12_000]])
def test_any_partition_into_blocks_gives_the_same_output(config, fast_tanh, sizes):
    model = network(config)
    signal = SIGNAL[:6000] if sizes == [64] else SIGNAL
    whole = Streamer(model, fast_tanh=fast_tanh).process(signal)
    streamer = Streamer(model, fast_tanh=fast_tanh)
    parts, start = [], 0
    while start < len(signal):
        size = sizes[len(parts) % len(sizes)]
        parts.append(streamer.process(signal[start : start + size]))
        start += size
    assert np.max(np.abs(np.concatenate(parts) - whole)) < 1e-6


def test_equals_the_pass_that_is_trained_once_its_history_is_the_signal_s():
    config = ARCHITECTURES["feather"]
    model = network(config)
    run = Pass(config, 500)
    expected = run.forward(pack(config, model.weights), torch.from_numpy(SIGNAL[: run.inputs]))
    streamed = render(model, SIGNAL[: run.inputs])[-500:]
    assert np.max(np.abs(streamed - expected.numpy())) < 1e-6


def test_silence_before_the_first_block_changes_nothing():
    model = network(ARCHITECTURES["nano"])
    silence = np.zeros(10_000, np.float32)
    after = render(model, np.concatenate([silence, SIGNAL]))[len(silence) :]
    assert np.max(np.abs(after - render(model, SIGNAL))) < 1e-6


def test_an_empty_block_gives_an_empty_block():
    assert render(network(GATED), np.empty(0, np.float32)).shape == (0,)


def test_the_players_tanh_is_odd_and_within_half_a_percent_of_tanh():
    z = torch.linspace(-30.0, 30.0, 60_001)
    fast = fast_tanh_(z.clone())
    assert torch.allclose(fast, -fast_tanh_(-z), atol=0.0)
    assert torch.max(torch.abs(fast - torch.tanh(z))) < 5e-3  # it saturates at 1.0042


with_kernels = pytest.mark.skipif(not kernels.available(), reason=str(kernels.why_not()))


@with_kernels
@pytest.mark.parametrize("fast_tanh", [False, True])
@pytest.mark.parametrize("config", [ARCHITECTURES["nano"], ARCHITECTURES["standard"], GATED])
def test_both_engines_play_the_same(config, fast_tanh):
    model = network(config)
    native = player_of(model, fast_tanh=fast_tanh)
    assert isinstance(native, kernels.Stream)
    torch_ = player_of(model, fast_tanh=fast_tanh, engine="torch")
    difference = native.process(SIGNAL) - torch_.process(SIGNAL)
    assert np.max(np.abs(difference)) < 1e-5


@with_kernels
@pytest.mark.parametrize("fast_tanh", [False, True])
@pytest.mark.parametrize("config", [lstm.LstmConfig(24), lstm.LstmConfig(9, 3)])
@pytest.mark.parametrize("sample_rate", [20, None])
def test_both_engines_play_an_lstm_alike(config, fast_tanh, sample_rate):
    # states to begin with that ten samples of silence, half a second, do not undo
    weights = config.initial_weights(1)
    random = np.random.default_rng(2)
    for part in config.parts:
        if part.name.startswith("first_"):
            weights[part.slice] = random.standard_normal(config.hidden_size)
    model = lstm.Lstm(config, weights, sample_rate)
    native = player_of(model, fast_tanh=fast_tanh)
    assert isinstance(native, kernels.Stream)
    torch_ = player_of(model, fast_tanh=fast_tanh, engine="torch")
    difference = native.process(SIGNAL[:3000]) - torch_.process(SIGNAL[:3000])
    assert np.max(np.abs(difference)) < 1e-5


@with_kernels
def test_a_dense_network_is_played_by_torch_and_the_kernels_say_why_not():
    config = DenseConfig(8, (4,))
    model = Dense(config, config.initial_weights(0), 48_000)
    assert not isinstance(player_of(model), kernels.Stream)
    with pytest.raises(ProfilerError, match=r"cannot play this network \(it is no WaveNet\)"):
        player_of(model, engine="native")


def test_without_kernels_torch_plays_and_asking_for_them_is_refused(monkeypatch):
    monkeypatch.setattr(kernels, "_loaded", lambda: "the native kernels were left out")
    model = network(ARCHITECTURES["nano"])
    assert isinstance(player_of(model), Streamer)
    with pytest.raises(ProfilerError, match="left out; --engine torch plays"):
        player_of(model, engine="native")

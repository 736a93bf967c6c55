"""A network whose condition is another network, as `condition_dsp` of a `.nam` has it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.stream_against_core import LstmSizes, nam_of
from profiler.kernels import Condition, LayerArray, Lstm, Network, Stream, paths
from tests.export.player import SIGNAL as HEARD
from tests.export.player import played_by_the_official_player
from tests.kernels.plain import (
    initial_weights,
    lstm,
    lstm_weights,
    noise,
    played,
    players_tanh,
    reach,
)

SIGNAL = noise(1500)
PREWARM = 100  # samples of silence before the first block of an LSTM
LSTM = LstmSizes(8, 2, outputs=3)


def outer(conditions):
    """A small WaveNet with so many conditions, plain and gated layers."""
    common = {"condition_size": conditions}
    return (
        LayerArray(6, (1, 4, 9), head_size=3, **common),
        LayerArray(3, (2, 5), 2, input_size=6, gated=True, head_bias=True, **common),
    )


def inner(outputs):
    return (
        LayerArray(4, (1, 7), head_size=5),
        LayerArray(5, (3,), input_size=4, head_size=outputs, head_bias=True),
    )


def weights_of(arrays, seed):
    return initial_weights(arrays, np.random.default_rng(seed))


def by_a_wavenet(outputs, seed=2):
    return Condition(Network(inner(outputs)), weights_of(inner(outputs), seed))


def by_an_lstm(sizes=LSTM, seed=2):
    hidden, layers, outputs = sizes
    weights = lstm_weights(sizes, np.random.default_rng(seed))
    return Condition(Lstm(hidden, layers, outputs=outputs, prewarm=PREWARM), weights)


def with_silence(arrays, signal):
    """The signal, and before it as much silence as a network hears."""
    return np.concatenate([np.zeros(reach(arrays)), signal])


def in_blocks(stream, signal, sizes):
    parts, start = [], 0
    while start < len(signal):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.process(signal[start : start + size]))
        start += size
    return np.concatenate(parts)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("outputs", [1, 2, 7])
def test_a_wavenet_conditions_a_wavenet(outputs, path):
    arrays, condition = outer(outputs), by_a_wavenet(outputs)
    weights = weights_of(arrays, 1)
    output = Stream(Network(arrays), weights, condition=condition, path=path).process(SIGNAL)
    heard = played(inner(outputs), condition.weights, with_silence(arrays, SIGNAL))
    exact = played(arrays, weights, SIGNAL, condition=torch.from_numpy(np.atleast_2d(heard)))
    assert np.max(np.abs(output - exact)) < 3e-6 * np.max(np.abs(exact))  # float32


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("sizes", [(24, 1, 2), LSTM])
def test_an_lstm_conditions_a_wavenet(sizes, fast, path):
    arrays, condition = outer(sizes[2]), by_an_lstm(sizes)
    weights = weights_of(arrays, 1)
    stream = Stream(Network(arrays), weights, condition=condition, players_tanh=fast, path=path)
    # the silence that one network needs, then the other; and a sample, as before any stream
    before = np.zeros(PREWARM + reach(arrays) + 1)
    curves = [players_tanh, players_tanh] if fast else [np.tanh, torch.tanh]
    heard = lstm(sizes, condition.weights, np.concatenate([before, SIGNAL]), tanh=curves[0])
    heard = torch.from_numpy(heard[:, -reach(arrays) - len(SIGNAL) :])
    exact = played(arrays, weights, SIGNAL, condition=heard, tanh=curves[1])
    assert np.max(np.abs(stream.process(SIGNAL) - exact)) < 5e-6 * np.max(np.abs(exact))


def test_a_condition_may_have_a_condition():
    lowest, middle, top = by_an_lstm(), outer(3), outer(1)
    first, second = weights_of(middle, 1), weights_of(top, 4)
    condition = Condition(Network(middle), first, lowest)
    output = Stream(Network(top), second, condition=condition).process(SIGNAL)
    before = np.zeros(PREWARM + reach(middle) + reach(top) + 2)
    heard = lstm(LSTM, lowest.weights, np.concatenate([before, SIGNAL]))
    signal = with_silence(top, SIGNAL)
    heard = torch.from_numpy(heard[:, -reach(middle) - len(signal) :])
    heard = played(middle, first, signal, condition=heard)
    exact = played(top, second, SIGNAL, condition=torch.from_numpy(heard[None]))
    assert np.max(np.abs(output - exact)) < 5e-6 * np.max(np.abs(exact))


def test_a_condition_that_passes_the_input_on_changes_nothing():
    # a WaveNet of one channel that leaves its mixin as it is
    straight = LayerArray(1, (1,), 1, activation="LeakyReLU", slope=1.0)
    passing = Condition(Network([straight]), np.array([0, 0, 0, 1, 0, 0, 1, 1], np.float32))
    arrays = outer(1)
    network, weights = Network(arrays), weights_of(arrays, 1)
    output = Stream(network, weights, condition=passing).process(SIGNAL)
    assert np.array_equal(output, Stream(network, weights).process(SIGNAL))
    other = Stream(network, weights, condition=by_a_wavenet(1)).process(SIGNAL)
    assert np.max(np.abs(output - other)) > 0.01


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.sampled_from(paths()))
def test_any_partition_into_blocks_gives_the_same_output(sizes, path):
    network, weights = Network(outer(3)), weights_of(outer(3), 1)
    for condition in (by_an_lstm(), by_a_wavenet(3)):
        stream = Stream(network, weights, condition=condition, path=path)
        whole = stream.process(SIGNAL)
        stream.reset()
        assert np.max(np.abs(in_blocks(stream, SIGNAL, sizes) - whole)) < 1e-6


@pytest.mark.parametrize("kind", ["wavenet", "lstm"])
def test_the_official_player_plays_a_file_with_a_condition_alike(kind, tmp_path):
    weights = weights_of(outer(3), 1)
    content = nam_of(outer(3), weights)
    if kind == "wavenet":
        condition = by_a_wavenet(3)
        inside = nam_of(inner(3), condition.weights)
    else:
        # from its own first states, players play half a second of silence
        condition = Condition(Lstm(8, 2, outputs=3), by_an_lstm().weights)
        inside = nam_of(LSTM, condition.weights)
    content["config"]["condition_dsp"] = inside
    (tmp_path / "model.nam").write_text(json.dumps(content))
    reference = played_by_the_official_player(tmp_path)
    stream = Stream(Network(outer(3)), weights, condition=condition, players_tanh=True)
    assert np.max(np.abs(reference)) > 0.1
    assert np.max(np.abs(stream.process(HEARD) - reference)) < 1e-5


class TestRefusals:
    network, weights = Network(outer(3)), weights_of(outer(3), 1)

    def test_a_condition_of_another_size(self):
        with pytest.raises(ValueError, match="condition_size is 3, but the condition has 2"):
            Stream(self.network, self.weights, condition=by_a_wavenet(2))
        with pytest.raises(ValueError, match="condition_size is 3, but the condition has 4"):
            Stream(self.network, self.weights, condition=by_an_lstm((5, 1, 4)))

    @pytest.mark.parametrize("network", [Network(inner(3)), Lstm(5, outputs=3)])
    def test_weights_of_a_condition_that_do_not_fit(self, network):
        with pytest.raises(ValueError, match="got 3 weights, expected"):
            Stream(self.network, self.weights, condition=Condition(network, np.zeros(3)))
        weights = np.zeros(network.weight_count)
        weights[7] = np.inf
        with pytest.raises(ValueError, match="weight 7 is not finite"):
            Stream(self.network, self.weights, condition=Condition(network, weights))

    def test_more_of_them_than_anybody_needs(self):
        network, weights = Network(outer(1)), weights_of(outer(1), 1)
        condition = None
        for _ in range(16):
            condition = Condition(network, weights, condition)
        with pytest.raises(ValueError, match="17 nested networks, expected at most 16"):
            Stream(network, weights, condition=condition)

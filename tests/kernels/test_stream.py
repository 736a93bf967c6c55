import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels import Condition, LayerArray, Lstm, Network, Pass, Stream, paths
from tests.kernels.plain import (
    SHAPES,
    initial_weights,
    lstm,
    lstm_weights,
    network_of,
    noise,
    played,
    players_tanh,
    reach,
)

SIGNAL = noise(5000)


def in_blocks(stream, signal, sizes):
    parts, start = [], 0
    while start < len(signal):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.process(signal[start : start + size]))
        start += size
    return np.concatenate(parts)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("name", SHAPES)
def test_plays_what_plain_products_give(name, path):
    arrays, network, weights = network_of(name)
    output = Stream(network, weights, path=path).process(SIGNAL)
    expected = played(arrays, weights, SIGNAL)
    assert np.max(np.abs(output - expected)) < 3e-6 * np.max(np.abs(expected))  # float32


@pytest.mark.parametrize("path", paths())
def test_plays_with_the_players_tanh_on_request(path):
    arrays, network, weights = network_of("odd")
    output = Stream(network, weights, players_tanh=True, path=path).process(SIGNAL)
    expected = played(arrays, weights, SIGNAL, tanh=players_tanh)
    assert np.max(np.abs(output - expected)) < 5e-6
    assert np.max(np.abs(output - played(arrays, weights, SIGNAL))) > 1e-4  # it is another one


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["standard", "odd", "a2"]),
    st.lists(st.integers(1, 700), min_size=1, max_size=6),
    st.sampled_from(paths()),
)
def test_any_partition_into_blocks_gives_the_same_output(name, sizes, path):
    _, network, weights = network_of(name)
    if max(sizes) < 8:  # thousands of calls
        sizes = [*sizes, 500]
    whole = Stream(network, weights, path=path).process(SIGNAL)
    parts = in_blocks(Stream(network, weights, path=path), SIGNAL, sizes)
    assert np.max(np.abs(parts - whole)) < 1e-6


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("name", SHAPES)
def test_equals_the_forward_pass_that_is_trained(name, path):
    _, network, weights = network_of(name)
    signal = noise(network.receptive_field + 999)
    run = Pass(network, 1000, path=path)
    streamed = in_blocks(Stream(network, weights, path=path), signal, [64, 17])[-1000:]
    assert np.max(np.abs(streamed - run.forward(weights, signal[None])[0])) < 1e-6


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("dilation", [1, 31, 32, 63, 64, 65, 87, 88, 89, 200])
def test_a_past_is_found_wherever_its_ring_turns(dilation, path):
    layers = LayerArray(3, (dilation, 1, dilation), head_taps=16, activation="LeakyReLU")
    network = Network((layers,))
    weights = initial_weights((layers,), np.random.default_rng(5))
    signal = noise(network.receptive_field + 3999)
    expected = Pass(network, 4000, path=path).forward(weights, signal[None])[0]
    random = np.random.default_rng(dilation)
    for most in (9, 64, 130):
        sizes = random.integers(1, most + 1, 4000).tolist()
        streamed = in_blocks(Stream(network, weights, path=path), signal, sizes)[-4000:]
        assert np.max(np.abs(streamed - expected)) < 2e-6 * np.max(np.abs(expected))


def test_instruction_paths_differ_by_rounding_alone():
    _, network, weights = network_of("standard")
    first, *others = (Stream(network, weights, path=path).process(SIGNAL) for path in paths())
    for other in others:
        assert np.max(np.abs(other - first)) < 2e-6


@pytest.mark.parametrize("path", paths())
def test_tanh_is_tanh_to_a_millionth(path):
    # one channel whose input is passed through tanh and nothing else
    arrays = (LayerArray(1, (1,), kernel_sizes=1),)
    weights = np.array([1, 0, 0, 1, 0, 0, 1, 1], np.float32)
    z = np.concatenate([np.linspace(-20, 20, 200_001), np.geomspace(1e-30, 1e30, 10_001)])
    z = np.concatenate([z, -z]).astype(np.float32)
    output = Stream(Network(arrays), weights, path=path).process(z).astype(np.float64)
    exact = np.tanh(z.astype(np.float64))
    # relative, so near 0 as well
    assert np.max(np.abs(output - exact)) < 1e-6
    normal = np.abs(z) > 1e-37
    assert np.max(np.abs(output - exact)[normal] / np.abs(exact)[normal]) < 1e-6
    assert np.max(np.abs(output)) <= 1.0
    fast = Stream(Network(arrays), weights, players_tanh=True, path=path).process(z)
    expected = players_tanh(torch.from_numpy(np.clip(z, -1e6, 1e6)).double()).numpy()
    assert np.max(np.abs(fast - expected)) < 1e-6


def test_begins_after_silence_and_again_after_a_reset():
    _, network, weights = network_of("standard")
    silence = np.zeros(network.receptive_field + 100, np.float32)
    stream = Stream(network, weights)
    first = stream.process(SIGNAL)
    stream.reset()
    assert np.array_equal(stream.process(SIGNAL), first)
    later = Stream(network, weights)
    later.process(silence)
    assert np.max(np.abs(later.process(SIGNAL) - first)) < 1e-6


def test_forgets_what_lies_further_back_than_its_receptive_field():
    _, network, weights = network_of("a2")
    stream = Stream(network, weights)
    stream.process(100.0 * SIGNAL)
    after = stream.process(np.zeros(network.receptive_field + 64, np.float32))
    silent = Stream(network, weights).process(np.zeros(64, np.float32))
    assert np.max(np.abs(after[-64:] - silent)) < 1e-6


def test_a_note_that_dies_away_into_denormals_takes_no_longer():
    _, network, weights = network_of("a2")
    stream = Stream(network, weights)
    output = stream.process(np.full(300, 1e-41, np.float32))
    expected = Stream(network, weights).process(np.zeros(300, np.float32))
    assert np.array_equal(output, expected)  # they were taken for 0


def test_an_empty_block_gives_an_empty_block():
    _, network, weights = network_of("odd")
    assert Stream(network, weights).process(np.empty(0, np.float32)).shape == (0,)


def test_plays_into_an_array_that_is_there():
    _, network, weights = network_of("odd")
    out = np.zeros_like(SIGNAL)
    Stream(network, weights).process_into(SIGNAL, out)
    assert np.array_equal(out, Stream(network, weights).process(SIGNAL))


def test_streams_do_not_disturb_each_other():
    _, network, weights = network_of("odd")
    alone = in_blocks(Stream(network, weights), SIGNAL, [100])
    streams = [Stream(network, weights) for _ in range(4)]
    outputs = [None] * 4

    def play(number):
        outputs[number] = in_blocks(streams[number], SIGNAL, [100])

    threads = [threading.Thread(target=play, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(output, alone) for output in outputs)


class TestRefusals:
    _, network, weights = network_of("odd")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_block_that_is_not_finite_and_plays_nothing_of_it(self, bad):
        stream, untroubled = Stream(self.network, self.weights), Stream(self.network, self.weights)
        block = SIGNAL[:64].copy()
        block[9] = bad
        with pytest.raises(ValueError, match="input 9 is not finite"):
            stream.process(block)
        assert np.array_equal(stream.process(SIGNAL), untroubled.process(SIGNAL))

    def test_weights_of_another_number(self):
        with pytest.raises(ValueError, match="got 0 weights"):
            Stream(self.network, [])

    def test_weights_that_are_not_finite(self):
        weights = self.weights.copy()
        weights[-1] = np.nan
        with pytest.raises(ValueError, match=f"weight {len(weights) - 1} is not finite"):
            Stream(self.network, weights)

    @pytest.mark.parametrize("block", [np.zeros((2, 8)), np.float32(0.0)])
    def test_a_block_of_another_dimension(self, block):
        with pytest.raises(ValueError, match="must have 1 dimensions"):
            Stream(self.network, self.weights).process(block)

    def test_room_of_another_length(self):
        with pytest.raises(ValueError, match="got 8 samples in and room for 9"):
            Stream(self.network, self.weights).process_into(SIGNAL[:8], np.zeros(9, np.float32))

    @pytest.mark.parametrize("out", [np.zeros(8), np.zeros(16, np.float32)[::2]])
    def test_room_of_another_kind(self, out):
        with pytest.raises(TypeError):
            Stream(self.network, self.weights).process_into(SIGNAL[:8], out)

    def test_a_network_that_takes_another_condition(self):
        network = Network((LayerArray(2, (1,), condition_size=3),))
        with pytest.raises(ValueError, match="condition_size is 3, but the condition has 1"):
            Stream(network, np.zeros(network.weight_count, np.float32))

    def test_a_network_of_two_outputs(self):
        network = Network((LayerArray(2, (1,), head_size=2),))
        with pytest.raises(ValueError, match="has 2 outputs, expected 1"):
            Stream(network, np.zeros(network.weight_count, np.float32))


# -- a network as the condition of another, as `condition_dsp` of a `.nam` has it ---------------

SHORT = SIGNAL[:1500]
PREWARM = 100  # samples of silence before the first block of an LSTM
LSTM = (8, 2, 3)  # hidden, layers, outputs


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


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("outputs", [1, 2, 7])
def test_a_wavenet_conditions_a_wavenet(outputs, path):
    arrays, condition = outer(outputs), by_a_wavenet(outputs)
    weights = weights_of(arrays, 1)
    output = Stream(Network(arrays), weights, condition=condition, path=path).process(SHORT)
    heard = played(inner(outputs), condition.weights, with_silence(arrays, SHORT))
    exact = played(arrays, weights, SHORT, condition=torch.from_numpy(np.atleast_2d(heard)))
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
    heard = lstm(sizes, condition.weights, np.concatenate([before, SHORT]), tanh=curves[0])
    heard = torch.from_numpy(heard[:, -reach(arrays) - len(SHORT) :])
    exact = played(arrays, weights, SHORT, condition=heard, tanh=curves[1])
    assert np.max(np.abs(stream.process(SHORT) - exact)) < 5e-6 * np.max(np.abs(exact))


def test_a_condition_may_have_a_condition():
    lowest, middle, top = by_an_lstm(), outer(3), outer(1)
    first, second = weights_of(middle, 1), weights_of(top, 4)
    condition = Condition(Network(middle), first, lowest)
    output = Stream(Network(top), second, condition=condition).process(SHORT)
    before = np.zeros(PREWARM + reach(middle) + reach(top) + 2)
    heard = lstm(LSTM, lowest.weights, np.concatenate([before, SHORT]))
    signal = with_silence(top, SHORT)
    heard = torch.from_numpy(heard[:, -reach(middle) - len(signal) :])
    heard = played(middle, first, signal, condition=heard)
    exact = played(top, second, SHORT, condition=torch.from_numpy(heard[None]))
    assert np.max(np.abs(output - exact)) < 5e-6 * np.max(np.abs(exact))


def test_a_condition_that_passes_the_input_on_changes_nothing():
    # a WaveNet of one channel that leaves its mixin as it is
    straight = LayerArray(1, (1,), 1, activation="LeakyReLU", slope=1.0)
    passing = Condition(Network([straight]), np.array([0, 0, 0, 1, 0, 0, 1, 1], np.float32))
    arrays = outer(1)
    network, weights = Network(arrays), weights_of(arrays, 1)
    output = Stream(network, weights, condition=passing).process(SHORT)
    assert np.array_equal(output, Stream(network, weights).process(SHORT))
    other = Stream(network, weights, condition=by_a_wavenet(1)).process(SHORT)
    assert np.max(np.abs(output - other)) > 0.01


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.sampled_from(paths()))
def test_any_partition_into_blocks_gives_the_same_output_under_a_condition(sizes, path):
    network, weights = Network(outer(3)), weights_of(outer(3), 1)
    for condition in (by_an_lstm(), by_a_wavenet(3)):
        stream = Stream(network, weights, condition=condition, path=path)
        whole = stream.process(SHORT)
        stream.reset()
        assert np.max(np.abs(in_blocks(stream, SHORT, sizes) - whole)) < 1e-6


class TestRefusalsOfConditions:
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

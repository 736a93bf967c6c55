import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels import Condition, LayerArray, Lstm, Network, Stream, paths
from profiler.model import lstm as by_torch
from tests.kernels.plain import lstm, lstm_weights, noise, players_tanh

SIGNAL = noise(1500)
PREWARM = 100  # samples of silence before the first block


def stream_of(sizes, weights, **how):
    hidden, layers, outputs = sizes
    network = Lstm(hidden, layers, outputs=outputs, prewarm=PREWARM)
    assert network.weight_count == len(weights)
    return Stream(network, weights, **how)


def expected(sizes, weights, signal, **how):
    """`(outputs, n)` after the silence."""
    return lstm(sizes, weights, np.concatenate([np.zeros(PREWARM), signal]), **how)[:, PREWARM:]


def weights_for(sizes, seed=1):
    return lstm_weights(sizes, np.random.default_rng(seed))


def in_blocks(stream, signal, sizes):
    parts, start = [], 0
    while start < len(signal):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.process(signal[start : start + size]))
        start += size
    return np.concatenate(parts)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("sizes", [(24, 1, 1), (16, 2, 1), (40, 1, 1), (64, 1, 1), (9, 3, 1)])
def test_plays_what_the_equations_say(sizes, path):
    weights = weights_for(sizes)
    output = stream_of(sizes, weights, path=path).process(SIGNAL)
    exact = expected(sizes, weights, SIGNAL)[0]
    assert np.std(exact) > 0.02
    assert np.max(np.abs(output - exact)) < 5e-6  # float32, 1600 steps


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 70),
    st.integers(1, 3),
    st.sampled_from(paths()),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 150), min_size=1, max_size=4),
)
def test_any_size_on_any_path_in_any_blocks_is_what_the_equations_say(
    hidden, layers, path, seed, blocks
):
    sizes, signal = (hidden, layers, 1), SIGNAL[:300]
    weights = weights_for(sizes, seed)
    output = in_blocks(stream_of(sizes, weights, path=path), signal, blocks)
    exact = expected(sizes, weights, signal)[0]
    assert np.max(np.abs(output - exact)) < 1e-5
    assert np.array_equal(output, stream_of(sizes, weights, path=path).process(signal))


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("outputs", [2, 5])
def test_every_row_of_the_head_is_played(outputs, path):
    # heard one by one through a network that passes on one of its conditions and nothing else
    sizes = (11, 2, outputs)
    weights = weights_for(sizes)
    condition = Condition(Lstm(11, 2, outputs=outputs, prewarm=PREWARM), weights)
    probe = Network(
        [LayerArray(1, (1,), 1, condition_size=outputs, activation="LeakyReLU", slope=1.0)]
    )
    # a receptive field of 1 and the one that every stream plays: two more samples of silence
    exact = lstm(sizes, weights, np.concatenate([np.zeros(PREWARM + 1), SIGNAL]))[:, PREWARM + 1 :]
    for row in range(outputs):
        mixin = np.eye(outputs)[row]
        through = np.concatenate([[0.0, 0.0, 0.0], mixin, [0.0, 0.0, 1.0, 1.0]])
        output = Stream(probe, through, condition=condition, path=path).process(SIGNAL)
        assert np.max(np.abs(output - exact[row])) < 5e-6


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("sizes", [(24, 1, 1), (9, 2, 1)])
def test_plays_with_the_players_curves_on_request(sizes, path):
    weights = weights_for(sizes)
    output = stream_of(sizes, weights, players_tanh=True, path=path).process(SIGNAL)
    exact = expected(sizes, weights, SIGNAL, tanh=players_tanh)[0]
    assert np.max(np.abs(output - exact)) < 1e-5
    assert np.max(np.abs(output - expected(sizes, weights, SIGNAL)[0])) > 1e-4  # another one


@pytest.mark.parametrize("fast_tanh", [False, True])
@pytest.mark.parametrize("config", [by_torch.LstmConfig(24), by_torch.LstmConfig(10, 3)])
def test_plays_what_torch_plays(config, fast_tanh):
    weights = weights_for((config.hidden_size, config.num_layers, 1))
    rate = 2 * PREWARM  # half a second is the silence
    model = by_torch.Lstm(config, weights, rate)
    reference = by_torch.Streamer(model, fast_tanh=fast_tanh).process(SIGNAL)
    stream = stream_of((config.hidden_size, config.num_layers, 1), weights, players_tanh=fast_tanh)
    assert np.max(np.abs(stream.process(SIGNAL) - reference)) < 1e-5


UNIT = (1, 1, 1)
SATURATED = 60.0  # a gate that is open, or with a minus closed
Z = np.concatenate([np.linspace(-30, 30, 30_001), np.geomspace(1e-30, 1e30, 3001)])
Z = np.concatenate([Z, -Z]).astype(np.float32)


def unit(*, i=(0.0, SATURATED), f=(0.0, -SATURATED), g=(0.0, 0.0), o=(0.0, SATURATED)):
    """Weights of one unit without recurrence, from (weight, bias) of its gates; head 1."""
    gates = (i, f, g, o)
    recurrence = [[weight, 0.0] for weight, _ in gates]
    return np.concatenate([np.ravel(recurrence), [bias for _, bias in gates], [0, 0, 1, 0]])


@pytest.mark.parametrize("path", paths())
def test_tanh_and_sigmoid_are_exact_to_a_millionth(path):
    z = Z.astype(np.float64)
    logistic = 0.5 * (np.tanh(0.5 * z) + 1.0)
    for weights, exact in [
        (unit(g=(1.0, 0.0)), np.tanh(np.tanh(z))),
        (unit(i=(1.0, 0.0), g=(0.0, SATURATED)), np.tanh(logistic)),
        (unit(o=(1.0, 0.0), g=(0.0, SATURATED)), logistic * np.tanh(1.0)),
    ]:
        output = stream_of(UNIT, weights, path=path).process(Z)
        assert np.max(np.abs(output - exact)) < 3e-7


@pytest.mark.parametrize("path", paths())
def test_a_gate_that_does_not_forget_adds_up_what_it_hears(path):
    weights = unit(f=(0.0, SATURATED), g=(1.0, 0.0))
    signal = 0.05 * SIGNAL[:300]
    output = stream_of(UNIT, weights, path=path).process(signal)
    exact = np.tanh(np.cumsum(np.tanh(signal.astype(np.float64))))
    assert np.max(np.abs(exact)) > 0.2
    # a sigmoid of float32 sums is 1 to a tenth of a millionth, at each step
    assert np.max(np.abs(output - exact)) < 300 * 1e-7 * np.max(np.abs(exact))


@pytest.mark.parametrize("sizes", [(24, 1, 1), (5, 3, 1)])
def test_begins_in_its_first_states_and_again_after_a_reset(sizes):
    hidden, layers, _ = sizes
    weights = weights_for(sizes)
    stream = Stream(Lstm(hidden, layers, prewarm=1), weights)
    first = stream.process(SIGNAL)
    exact = lstm(sizes, weights, np.concatenate([[0.0], SIGNAL]))[0, 1:]
    assert np.max(np.abs(first - exact)) < 5e-6
    stream.reset()
    assert np.array_equal(stream.process(SIGNAL), first)
    later = Stream(Lstm(hidden, layers, prewarm=5000), weights).process(SIGNAL)
    assert np.max(np.abs(later - first)[:5]) > 1e-3  # the states are not those of silence


def test_instruction_paths_differ_by_rounding_alone():
    sizes = (24, 2, 1)
    weights = weights_for(sizes)
    first, *others = (stream_of(sizes, weights, path=path).process(SIGNAL) for path in paths())
    for other in others:
        assert np.max(np.abs(other - first)) < 5e-6


def test_units_may_change_places():
    hidden = 24
    order = np.random.default_rng(3).permutation(hidden)
    weights = weights_for((hidden, 1, 1))
    w, b, h, c, head, bias = np.split(
        weights, np.cumsum([4 * hidden * (1 + hidden), 4 * hidden, hidden, hidden, hidden])
    )
    w = w.reshape(4, hidden, 1 + hidden)[:, order][:, :, [0, *(1 + order)]]
    b = b.reshape(4, hidden)[:, order]
    moved = np.concatenate([w.ravel(), b.ravel(), h[order], c[order], head[order], bias])
    played, again = (stream_of((hidden, 1, 1), each).process(SIGNAL) for each in (weights, moved))
    assert not np.array_equal(w.ravel(), weights[: w.size])
    assert np.max(np.abs(played - again)) < 5e-6


class TestRefusals:
    sizes = (6, 2, 1)
    network = Lstm(6, 2, prewarm=PREWARM)
    weights = weights_for(sizes)

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ({"hidden_size": 0}, "hidden_size is 0, expected 1 to 1024"),
            ({"hidden_size": 1025}, "hidden_size is 1025"),
            ({"hidden_size": 8, "num_layers": -1}, "num_layers is -1, expected 1 to 64"),
            ({"hidden_size": 8, "num_layers": 65}, "num_layers is 65"),
            ({"hidden_size": 8, "outputs": 0}, "outputs is 0, expected 1 to 1024"),
            ({"hidden_size": 8, "prewarm": 0}, "prewarm is 0, expected 1 to 16777216"),
            ({"hidden_size": 1024, "num_layers": 64}, "more than 2.26 weights"),
        ],
    )
    def test_a_shape_that_is_none(self, arguments, complaint):
        with pytest.raises(ValueError, match=complaint):
            Lstm(**arguments)

    @pytest.mark.parametrize("change", [-1, 1])
    def test_weights_of_another_number(self, change):
        count = len(self.weights)
        with pytest.raises(ValueError, match=f"got {count + change} weights, expected {count}"):
            Stream(self.network, np.zeros(count + change, np.float32))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("place", [0, 20, -1])
    def test_weights_that_are_not_finite(self, place, bad):
        weights = self.weights.copy()
        weights[place] = bad
        with pytest.raises(ValueError, match=f"weight {place % len(weights)} is not finite"):
            Stream(self.network, weights)

    def test_several_outputs_that_nobody_hears(self):
        network = Lstm(4, outputs=2)
        with pytest.raises(ValueError, match="has 2 outputs, expected 1"):
            Stream(network, np.zeros(network.weight_count, np.float32))

    def test_a_condition(self):
        with pytest.raises(ValueError, match="an LSTM takes no condition"):
            Stream(self.network, self.weights, condition=Condition(self.network, self.weights))

    def test_an_unknown_path(self):
        with pytest.raises(ValueError, match=r"no instruction path .quick. here"):
            Stream(self.network, self.weights, path="quick")

    def test_a_block_that_is_not_finite_and_plays_nothing_of_it(self):
        stream, untroubled = Stream(self.network, self.weights), Stream(self.network, self.weights)
        block = SIGNAL[:64].copy()
        block[9] = np.nan
        with pytest.raises(ValueError, match="input 9 is not finite"):
            stream.process(block)
        assert np.array_equal(stream.process(SIGNAL), untroubled.process(SIGNAL))

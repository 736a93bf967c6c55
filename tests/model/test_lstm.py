import numpy as np
import pytest
import torch

from profiler.model.engine import pass_for
from profiler.model.lstm import CHUNK, WARM_UP, Lstm, LstmConfig, Streamer
from profiler.model.players_tanh import players_tanh

SMALL = LstmConfig(8)
DEEP = LstmConfig(9, 2)
SIGNAL = 0.5 * np.random.default_rng(0).standard_normal(3000).astype(np.float32)


def weights_of(config, seed=0):
    """As at the beginning, but with first states and all gates off the middle."""
    random = np.random.default_rng(seed)
    return config.initial_weights(seed) + 0.1 * random.standard_normal(
        config.parameter_count
    ).astype(np.float32)


def by_hand(config, weights, x, tanh=np.tanh):
    """The equations, sample by sample, in float64: what is computed from the flat vector alone."""
    take = iter(np.asarray(weights, np.float64))
    size = config.hidden_size

    def following(*shape):
        count = int(np.prod(shape))
        return np.array([next(take) for _ in range(count)]).reshape(shape)

    layers = []
    for layer in range(config.num_layers):
        inputs = size if layer else 1
        w, b = following(4 * size, inputs + size), following(4 * size)
        layers.append([w, b, following(size), following(size)])
    head, bias = following(size), following(1)
    y = []
    for sample in np.asarray(x, np.float64):
        u = np.array([sample])
        for layer in layers:
            w, b, h, c = layer
            i, f, g, o = (w @ np.concatenate([u, h]) + b).reshape(4, size)
            i, f, o = (0.5 * (tanh(0.5 * z) + 1.0) for z in (i, f, o))
            layer[3] = f * c + i * tanh(g)
            layer[2] = u = o * tanh(layer[3])
        y.append(head @ u + bias[0])
    return np.array(y)


def silence(model):
    return np.zeros(round(0.5 * (model.sample_rate or 48_000)))


@pytest.mark.parametrize("config", [SMALL, DEEP])
@pytest.mark.parametrize("fast_tanh", [False, True])
def test_is_played_as_the_equations_say_after_half_a_second_of_silence(config, fast_tanh):
    model = Lstm(config, weights_of(config), 4000)
    played = Streamer(model, fast_tanh=fast_tanh).process(SIGNAL)
    before = silence(model)
    tanh = players_tanh if fast_tanh else np.tanh
    expected = by_hand(config, model.weights, np.concatenate([before, SIGNAL]), tanh)
    assert np.max(np.abs(expected)) > 0.1
    assert np.max(np.abs(played - expected[len(before) :])) < 1e-5  # float32, 5000 steps


@pytest.mark.parametrize("fast_tanh", [False, True])
@pytest.mark.parametrize("sizes", [[64], [1, 1000, 7, 300]])
def test_any_partition_into_blocks_gives_the_same_output(fast_tanh, sizes):
    model = Lstm(DEEP, weights_of(DEEP), 4000)
    whole = Streamer(model, fast_tanh=fast_tanh).process(SIGNAL)
    streamer = Streamer(model, fast_tanh=fast_tanh)
    parts, start = [], 0
    while start < len(SIGNAL):
        size = sizes[len(parts) % len(sizes)]
        parts.append(streamer.process(SIGNAL[start : start + size]))
        start += size
    assert np.max(np.abs(np.concatenate(parts) - whole)) < 1e-6


def test_an_empty_block_gives_an_empty_block():
    model = Lstm(SMALL, weights_of(SMALL), 4000)
    assert Streamer(model).process(np.empty(0, np.float32)).shape == (0,)


@pytest.mark.parametrize("config", [SMALL, DEEP])
@pytest.mark.parametrize("outputs", [CHUNK // 4, CHUNK + 100])
def test_output_and_gradient_are_those_of_autograd_in_float64_chunk_by_chunk(config, outputs):
    run = pass_for("torch", config, outputs)
    weights = weights_of(config)
    for part in config.parts:
        if part.name.startswith("first_"):
            weights[part.slice] = 0.0
    random = np.random.default_rng(1)
    x = 0.5 * random.standard_normal(run.inputs).astype(np.float32)
    slope = random.standard_normal(outputs).astype(np.float32)
    output, gradient = run.forward(weights, x[None])[0], run.backward(slope[None])

    exact = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    reference, size = [], config.hidden_size
    for begin in range(0, outputs, CHUNK):
        chunk = torch.from_numpy(x[begin : begin + WARM_UP + CHUNK]).double()
        states = [torch.zeros(config.num_layers, 1, size, dtype=torch.float64)] * 2
        tensors = {(p.name, p.array): exact[p.slice].view(p.shape) for p in config.parts}
        cells = []
        for layer in range(config.num_layers):
            w, b = tensors["weight", layer], tensors["bias", layer]
            cells += [w[:, :-size], w[:, -size:], b, torch.zeros_like(b)]

        def lstm(u, states, cells=cells):
            layers = config.num_layers
            found = torch.lstm(
                u[:, None, None], states, cells, True, layers, 0.0, False, False, False
            )
            return found[0][:, 0], found[1:]

        with torch.no_grad():
            _, states = lstm(chunk[:WARM_UP], states)
        hidden, _ = lstm(chunk[WARM_UP:], states)
        layers = config.num_layers
        reference.append(hidden @ tensors["head", layers][0] + tensors["head_bias", layers])
    reference = torch.cat(reference)
    (expected,) = torch.autograd.grad((reference * torch.from_numpy(slope)).sum(), exact)
    assert np.max(np.abs(output - reference.detach().numpy())) < 2e-6
    expected = expected.numpy()
    assert np.linalg.norm(gradient - expected) < 1e-5 * np.linalg.norm(expected)


def test_a_pass_after_the_warm_up_gives_what_is_played():
    # gates that forget: nothing of what came before the warm-up is left
    weights = SMALL.initial_weights(0)
    bias = next(part for part in SMALL.parts if part.name == "bias")
    weights[bias.start + 8 : bias.start + 16] = 0.0
    run = pass_for("torch", SMALL, 700)
    x = 0.5 * np.random.default_rng(2).standard_normal(run.inputs).astype(np.float32)
    played = Streamer(Lstm(SMALL, weights, 4000)).process(x)[-700:]
    assert np.max(np.abs(run.forward(weights, x[None])[0] - played)) < 1e-6


def test_scales_are_those_of_stimulus_and_response():
    weights = weights_of(SMALL)
    scaled = Lstm(SMALL, SMALL.scaled(weights, 0.05, 3.0), 4000)
    quiet = (0.05 * SIGNAL).astype(np.float32)
    expected = 3.0 * Streamer(Lstm(SMALL, weights, 4000)).process(SIGNAL)
    assert np.max(np.abs(Streamer(scaled).process(quiet) - expected)) < 1e-5


def test_first_states_are_nothing_and_are_not_trained():
    run = pass_for("torch", SMALL, 100)
    weights = SMALL.initial_weights(3)
    run.forward(weights, np.ones((1, run.inputs), np.float32))
    gradient = run.backward(np.ones((1, 100), np.float32))
    for part in SMALL.parts:
        if part.name.startswith("first_"):
            assert not weights[part.slice].any()
            assert not gradient[part.slice].any()
        else:
            assert gradient[part.slice].any()


@pytest.mark.parametrize(("config", "count"), [(LstmConfig(24), 2569), (LstmConfig(40), 6841)])
def test_has_the_parameters_that_are_counted_by_hand(config, count):
    size = config.hidden_size
    assert config.parameter_count == count == 4 * size * (1 + size) + 4 * size + 2 * size + size + 1
    assert config.multiply_adds == 4 * size * (1 + size) + size + 3 * size

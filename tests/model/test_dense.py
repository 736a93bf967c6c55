from itertools import pairwise

import numpy as np
import pytest
import torch

from profiler.model.architectures import architecture
from profiler.model.dense import SPECTRAL, Dense, DenseConfig, Streamer
from profiler.model.engine import pass_for

SMALL = DenseConfig(32, (12, 7))
FAR = DenseConfig(SPECTRAL + 41, (12, 7))  # whose first layer is computed by spectra
SIGNAL = 0.5 * np.random.default_rng(0).standard_normal(3000).astype(np.float32)


def weights_of(config, seed=0):
    random = np.random.default_rng(seed)
    return config.initial_weights(seed) + 0.1 * random.standard_normal(
        config.parameter_count
    ).astype(np.float32)


def by_hand(config, weights, x, *, xp=np):
    """Layer by layer on every window; of numpy or, for its gradient, of torch."""
    windows = [x[n : n + config.history] for n in range(len(x) - config.history + 1)]
    a = xp.stack(windows)
    sizes, at = [config.history, *config.widths, 1], 0
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        w = weights[at : at + inputs * outputs].reshape(outputs, inputs)
        at += inputs * outputs
        a = a @ w.T + weights[at : at + outputs]
        at += outputs
        if number < len(config.widths):
            a = a * (a > 0)
    return weights[at] * (2.0 / (1.0 + xp.exp(-a[:, 0])) - 1.0)


@pytest.mark.parametrize("config", [SMALL, FAR])
@pytest.mark.parametrize("sizes", [[3000], [64], [1, 1000, 7]])
def test_is_played_as_its_layers_say_in_any_blocks(config, sizes):
    model = Dense(config, weights_of(config), 48_000)
    streamer = Streamer(model)
    parts, start = [], 0
    while start < len(SIGNAL):
        size = sizes[len(parts) % len(sizes)]
        parts.append(streamer.process(SIGNAL[start : start + size]))
        start += size
    padded = np.concatenate([np.zeros(config.history - 1), SIGNAL])
    expected = by_hand(config, model.weights.astype(np.float64), padded)
    assert np.max(np.abs(expected)) > 0.1
    assert np.max(np.abs(np.concatenate(parts) - expected)) < 1e-5


@pytest.mark.parametrize("config", [SMALL, FAR])
def test_output_and_gradient_are_those_of_autograd_in_float64(config):
    run = pass_for("torch", config, 300)
    weights = weights_of(config)
    random = np.random.default_rng(1)
    x = random.standard_normal(run.inputs).astype(np.float32)
    slope = random.standard_normal(300).astype(np.float32)
    output, gradient = run.forward(weights, x[None])[0], run.backward(slope[None])
    exact = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    reference = by_hand(config, exact, torch.from_numpy(x).double(), xp=torch)
    (expected,) = torch.autograd.grad((reference * torch.from_numpy(slope)).sum(), exact)
    assert np.max(np.abs(output - reference.detach().numpy())) < 1e-5
    assert np.linalg.norm(gradient - expected.numpy()) < 1e-5 * torch.linalg.norm(expected)


def test_scales_are_those_of_stimulus_and_response():
    weights = weights_of(SMALL)
    scaled = Dense(SMALL, SMALL.scaled(weights, 0.05, 3.0), 48_000)
    quiet = (0.05 * SIGNAL).astype(np.float32)
    expected = 3.0 * Streamer(Dense(SMALL, weights, 48_000)).process(SIGNAL)
    assert np.max(np.abs(Streamer(scaled).process(quiet) - expected)) < 2e-5


def test_the_output_stays_within_its_span():
    weights = weights_of(SMALL)
    loud = Streamer(Dense(SMALL, weights, 48_000)).process(1e6 * SIGNAL)
    assert np.max(np.abs(loud)) <= abs(weights[-1])


def test_the_two_nets_have_the_sizes_that_are_counted_by_hand():
    assert architecture("net-1").parameter_count == 33 * 32 + 33 * 32 + 33 + 1
    net_2 = architecture("net-2")
    assert net_2.receptive_field == 4096
    assert net_2.multiply_adds == 4096 * 1024 + 1024 * 512 + 512 * 256 + 256 * 256 + 256 + 1


def test_one_sample_of_history_is_a_curve():
    curve = DenseConfig(1, (4,))
    model = Dense(curve, weights_of(curve), 48_000)
    x = np.array([0.3, -0.2, 0.3], np.float32)
    y = Streamer(model).process(x)
    assert y[0] == pytest.approx(y[2], abs=1e-7)
    assert y[0] != pytest.approx(y[1], abs=1e-3)

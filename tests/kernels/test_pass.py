import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels import LayerArray, Network, Pass, paths
from tests.kernels.plain import forward, initial_weights, network_of, noise, reach


@st.composite
def layer_arrays(draw, input_size, channels, head_size, last):
    layers = draw(st.integers(1, 3))
    sizes = draw(
        st.one_of(st.integers(1, 4), st.tuples(*[st.sampled_from([1, 2, 3, 6, 15])] * layers))
    )
    return LayerArray(
        channels,
        tuple(draw(st.lists(st.integers(1, 20), min_size=layers, max_size=layers))),
        kernel_sizes=sizes,
        input_size=input_size,
        head_size=head_size,
        head_taps=draw(st.sampled_from([1, 1, 2, 16])),
        head_bias=draw(st.booleans()),
        activation=draw(st.sampled_from(["Tanh", "Tanh", "LeakyReLU", "ReLU"])),
        slope=draw(st.sampled_from([0.01, 0.2, 1.0])),
        gated=draw(st.booleans()),
    )


@st.composite
def shapes(draw):
    channels = draw(st.lists(st.integers(1, 18), min_size=1, max_size=3))
    heads = [*channels[1:], 1]
    inputs = [1, *channels[:-1]]
    return tuple(
        draw(layer_arrays(*sizes, number == len(channels) - 1))
        for number, sizes in enumerate(zip(inputs, channels, heads, strict=True))
    )


def output_and_gradient(arrays, weights, x, dy, **how):
    """Of one segment."""
    run = Pass(Network(arrays), len(dy), **how)
    assert run.inputs == len(x)
    return run.forward(weights, x[None])[0], run.backward(dy[None])


def exact(arrays, weights, x, dy):
    """The same in float64, by autograd."""
    exact_weights = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    output = forward(arrays, exact_weights, torch.from_numpy(x).double())
    (output * torch.from_numpy(dy)).sum().backward()
    return output.detach().numpy(), exact_weights.grad.numpy()


def difference(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    shapes(),
    st.one_of(st.integers(1, 200), st.integers(200, 900)),  # beyond a strip, and a block
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(paths()),
    st.integers(0, 2**32 - 1),
)
def test_output_and_gradient_are_those_of_plain_products_and_autograd(
    arrays, outputs, segments, threads, path, seed
):
    weights = initial_weights(arrays, np.random.default_rng(seed))
    run = Pass(Network(arrays), outputs, segments=segments, threads=threads, path=path)
    assert run.inputs == outputs + reach(arrays)
    x = noise(segments * run.inputs, seed).reshape(segments, -1)
    dy = noise(segments * outputs, seed + 1).reshape(segments, -1)
    output, gradient = run.forward(weights, x), run.backward(dy)
    each = [exact(arrays, weights, *own) for own in zip(x, dy, strict=True)]
    expected_output = np.stack([own for own, _ in each])
    expected = np.sum([own for _, own in each], axis=0)
    # float32 against float64: rounding grows with the number of terms
    assert np.max(np.abs(output - expected_output)) < 1e-5 * (1 + np.max(np.abs(expected_output)))
    # where no ReLU lets anything through, both are 0
    assert np.linalg.norm(gradient - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("name", ["standard", "a2"])
def test_players_own_shapes_have_autograd_s_gradient(name, path):
    arrays, network, weights = network_of(name)
    x, dy = noise(network.receptive_field + 99), noise(100, seed=1)
    output, gradient = output_and_gradient(arrays, weights, x, dy, path=path)
    expected_output, expected = exact(arrays, weights, x, dy)
    assert np.max(np.abs(output - expected_output)) < 5e-6
    assert difference(gradient, expected) < 1e-5


def test_instruction_paths_differ_by_rounding_alone():
    arrays, network, weights = network_of("standard")
    x, dy = noise(network.receptive_field + 499), noise(500, seed=1)
    first, *others = (output_and_gradient(arrays, weights, x, dy, path=path) for path in paths())
    for output, gradient in others:
        assert np.max(np.abs(output - first[0])) < 2e-6
        assert difference(gradient, first[1]) < 2e-6


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_result_does_not_depend_on_the_number_of_threads(threads):
    _, network, weights = network_of("odd")
    segments = 5
    alone = Pass(network, 400, segments=segments)
    shared = Pass(network, 400, segments=segments, threads=threads)
    x = noise(segments * alone.inputs).reshape(segments, -1)
    dy = noise(segments * 400, seed=1).reshape(segments, -1)
    assert np.array_equal(alone.forward(weights, x), shared.forward(weights, x))
    assert np.array_equal(alone.backward(dy), shared.backward(dy))


def test_the_gradient_of_several_segments_is_the_sum_of_theirs():
    arrays, network, weights = network_of("odd")
    run = Pass(network, 300, segments=3)
    x = noise(3 * run.inputs).reshape(3, -1)
    dy = noise(900, seed=1).reshape(3, -1)
    outputs, gradient = run.forward(weights, x), run.backward(dy)
    each = [
        output_and_gradient(arrays, weights, own_x, own_dy)
        for own_x, own_dy in zip(x, dy, strict=True)
    ]
    assert np.array_equal(outputs, [output for output, _ in each])
    assert difference(gradient, np.sum([own for _, own in each], axis=0)) < 1e-6


def test_buffers_that_stay_do_not_carry_over_into_the_next_call():
    _, network, weights = network_of("odd")
    used, fresh = Pass(network, 300), Pass(network, 300)
    x, dy = noise(used.inputs)[None], noise(300, seed=1)[None]
    used.forward(3.0 * weights, np.full_like(x, 2.0))
    used.backward(np.full_like(dy, 5.0))
    assert np.array_equal(used.forward(weights, x), fresh.forward(weights, x))
    assert np.array_equal(used.backward(dy), fresh.backward(dy))
    assert np.array_equal(used.backward(2.0 * dy), 2.0 * fresh.backward(dy))  # it is linear


def test_a_delayed_input_gives_a_delayed_output():
    _, network, weights = network_of("a2")
    early, late = Pass(network, 200), Pass(network, 137)
    x = noise(early.inputs)
    whole = early.forward(weights, x[None])[0]
    part = late.forward(weights, x[None, 63:])[0]
    assert np.max(np.abs(part - whole[63:])) < 1e-6


def test_other_threads_run_meanwhile():
    _, network, weights = network_of("standard")
    run = Pass(network, 4096, segments=4)
    x = noise(4 * run.inputs).reshape(4, -1)
    counted, going = 0, True

    def count():
        nonlocal counted
        while going:
            counted += 1

    other = threading.Thread(target=count)
    other.start()
    before = counted
    run.forward(weights, x)
    after = counted
    going = False
    other.join()
    assert after > before


class TestRefusals:
    _, network, weights = network_of("odd")

    def run(self):
        return Pass(self.network, 50, segments=2)

    @pytest.mark.parametrize("name", ["outputs", "segments", "threads"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_a_number_below_1(self, name, value):
        arguments = {"outputs": 10} | {name: value}
        with pytest.raises(ValueError, match=f"{name} is {value}, expected 1 to"):
            Pass(self.network, **arguments)

    def test_more_memory_than_there_is(self):
        with pytest.raises(ValueError, match="more than 64 GB"):
            Pass(self.network, 2**24, segments=2**16)

    def test_an_unknown_path(self):
        with pytest.raises(
            ValueError, match=r"no instruction path .quick. here: there are .*portable"
        ):
            Pass(self.network, 10, path="quick")

    @pytest.mark.parametrize("shape", [(2, 1), (1, 50), (100,)])
    def test_another_shape(self, shape):
        run = self.run()
        with pytest.raises(ValueError, match=r"expected|dimensions"):
            run.forward(self.weights, np.zeros(shape, np.float32))
        run.forward(self.weights, np.zeros((2, run.inputs), np.float32))
        with pytest.raises(ValueError, match=r"expected|dimensions"):
            run.backward(np.zeros(shape, np.float32))

    def test_another_number_of_weights(self):
        run = self.run()
        with pytest.raises(ValueError, match=f"got 3 weights, expected {len(self.weights)}"):
            run.forward(np.zeros(3, np.float32), np.zeros((2, run.inputs), np.float32))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_number_that_is_not_finite(self, bad):
        run = self.run()
        x, dy = np.zeros((2, run.inputs), np.float32), np.zeros((2, 50), np.float32)
        weights = self.weights.copy()
        weights[5] = bad
        with pytest.raises(ValueError, match="weight 5 is not finite"):
            run.forward(weights, x)
        x[0, 7] = bad
        with pytest.raises(ValueError, match="input 7 is not finite"):
            run.forward(self.weights, x)
        run.forward(self.weights, np.zeros_like(x))
        dy[0, 9] = bad
        with pytest.raises(ValueError, match="output gradient 9 is not finite"):
            run.backward(dy)

    def test_backward_first(self):
        with pytest.raises(ValueError, match="needs a forward pass"):
            self.run().backward(np.zeros((2, 50), np.float32))

    def test_backward_after_a_forward_that_failed(self):
        run = self.run()
        run.forward(self.weights, np.zeros((2, run.inputs), np.float32))
        with pytest.raises(ValueError, match="weights"):
            run.forward(self.weights[1:], np.zeros((2, run.inputs), np.float32))
        with pytest.raises(ValueError, match="needs a forward pass"):
            run.backward(np.zeros((2, 50), np.float32))

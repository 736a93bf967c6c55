import dataclasses

import numpy as np
import pytest

from profiler.kernels import LayerArray, Network
from profiler.model.wavenet import ARCHITECTURES
from tests.kernels.plain import SHAPES, initial_weights, reach

A1 = LayerArray(4, (1, 2), head_size=2), LayerArray(2, (1,), input_size=4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_as_the_architectures_do(name):
    config = ARCHITECTURES[name]
    network = Network(
        [
            LayerArray(
                array.channels,
                array.dilations,
                input_size=array.input_size,
                head_size=array.head_size,
                head_bias=array.head_bias,
            )
            for array in config.arrays
        ]
    )
    assert network.weight_count == config.parameter_count
    assert network.receptive_field == config.receptive_field


def test_an_a2_counts_as_its_players_do():
    network = Network(SHAPES["a2"])
    assert network.weight_count == 12_145 + 1  # and the head scale
    assert network.receptive_field == 6347


@pytest.mark.parametrize("arrays", SHAPES.values(), ids=SHAPES)
def test_counts_as_plain_products_do(arrays):
    network = Network(arrays)
    assert network.weight_count == len(initial_weights(arrays, np.random.default_rng(0)))
    assert network.receptive_field == 1 + reach(arrays)


def changed(number, **what):
    arrays = list(A1)
    arrays[number] = dataclasses.replace(arrays[number], **what)
    return arrays


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ([], "needs an array of layers, got none"),
        ([A1[0]] * 65, "65 arrays, expected at most 64"),
        (changed(0, channels=0), "array 0: channels is 0, expected 1 to 1024"),
        (changed(0, channels=-3), "array 0: channels is -3"),
        (changed(0, channels=4000), "array 0: channels is 4000, expected 1 to 1024"),
        (changed(0, dilations=()), "number of layers is 0"),
        (changed(0, dilations=(1, 0)), "array 0: dilation is 0"),
        (changed(0, dilations=(1, 2**20 + 1)), "dilation is 1048577"),
        (changed(0, kernel_sizes=0), "kernel size is 0"),
        (changed(0, kernel_sizes=(3,)), "1 kernel sizes for 2 dilations"),
        (changed(0, kernel_sizes=4096, dilations=(2**20,)), "receptive field of more than 2.24"),
        (changed(0, input_size=2), "array 0: input_size is 2, expected 1"),
        (changed(1, input_size=3), "array 1: input_size is 3, expected 4"),
        (changed(1, channels=3), "array 1: channels is 3, expected 2"),
        (changed(1, condition_size=2), "array 1: condition_size is 2, expected 1"),
        (changed(1, head_size=0), "array 1: head_size is 0"),
        (changed(1, head_taps=5000), "array 1: head_taps is 5000"),
        (changed(1, activation="GELU"), "activation is 'GELU', expected Tanh, LeakyReLU or ReLU"),
        (changed(1, slope=-0.1), "slope is -0.1"),
        (changed(1, slope=float("nan")), "slope is .?nan"),
        ([LayerArray(1024, (1,) * 1024, kernel_sizes=100)], "more than 2.26 weights"),
    ],
)
def test_refuses_a_shape_that_is_none(arrays, complaint):
    with pytest.raises(ValueError, match=complaint):
        Network(arrays)

import numpy as np
import pytest
import torch

from profiler.model.wavenet import (
    A2,
    ARCHITECTURES,
    LayerArray,
    Pass,
    WaveNetConfig,
    initial_weights,
    pack,
    tanh_,
)

# As the NAM trainer counts them.
PARAMETERS = {"nano": 842, "feather": 3026, "lite": 6554, "standard": 13802}

SMALL = WaveNetConfig(
    (
        LayerArray(1, 6, 3, (1, 2, 4)),
        LayerArray(6, 3, 1, (3, 1), kernel_size=2, head_bias=True),
    )
)
SMALL_A2 = WaveNetConfig(
    (
        LayerArray(1, 4, 3, (1, 2), kernel_size=(2, 5), activation="LeakyReLU"),
        LayerArray(4, 3, 1, (3, 1), head_bias=True, activation="LeakyReLU", head_taps=5),
    )
)


def plain_forward(config, weights, x):
    """The same network by torch's convolutions, for autograd."""
    parts = iter(config.parts)

    def following():
        part = next(parts)
        return weights[part.slice].view(part.shape)

    h, head = x[None], None
    for array in config.arrays:
        h = following() @ h
        for dilation in array.dilations:
            z = torch.nn.functional.conv1d(h[None], following(), following(), dilation=dilation)[0]
            z = z + following() @ x[None, -z.shape[1] :]
            leaky = array.activation == "LeakyReLU"
            a = torch.nn.functional.leaky_relu(z, 0.01) if leaky else torch.tanh(z)
            head = a if head is None else head[:, -a.shape[1] :] + a
            h = h[:, -a.shape[1] :] + following() @ a + following()[:, None]
        head = torch.nn.functional.conv1d(head[None], following())[0]
        if array.head_bias:
            head = head + following()[:, None]
    return head[0] * following()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_has_the_size_and_the_receptive_field_that_players_know(name):
    config = ARCHITECTURES[name]
    assert config.parameter_count == PARAMETERS[name]
    assert config.receptive_field == 4093


@pytest.mark.parametrize(("name", "count"), [("a2-full", 12_146), ("a2-lite", 1_871)])
def test_an_a2_has_the_size_and_the_receptive_field_that_players_know(name, count):
    assert A2[name].parameter_count == count  # the head scale is not trained
    assert A2[name].receptive_field == 6347


def test_a_head_of_many_taps_must_be_the_last():
    with pytest.raises(ValueError, match="only the last array's head"):
        WaveNetConfig((LayerArray(1, 2, 2, (1,), head_taps=2), LayerArray(2, 2, 1, (1,))))


@pytest.mark.parametrize("config", [SMALL, SMALL_A2, *ARCHITECTURES.values(), *A2.values()])
def test_output_and_gradient_are_those_of_plain_convolutions_and_autograd(config):
    outputs = 37
    run = Pass(config, outputs)
    weights = initial_weights(config, 3)
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(run.inputs, generator=generator)
    wanted = torch.randn(outputs, generator=generator)
    estimate = run.forward(pack(config, weights), x)
    gradient = run.backward(pack(config, weights), wanted)

    exact = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    reference = plain_forward(config, exact, x.double())
    (expected,) = torch.autograd.grad((reference * wanted).sum(), exact)
    expected[-1] = 0.0  # the head scale is not trained
    # float32 against float64 through twenty layers
    assert torch.max(torch.abs(estimate - reference)) < 2e-6
    assert torch.linalg.norm(gradient - expected) < 1e-5 * torch.linalg.norm(expected)


def test_buffers_that_stay_do_not_carry_over_into_the_next_stretch():
    run, fresh = Pass(SMALL, 50), Pass(SMALL, 50)
    weights = pack(SMALL, initial_weights(SMALL, 0))
    x = torch.randn(run.inputs, generator=torch.Generator().manual_seed(1))
    run.forward(weights, 10.0 * torch.ones_like(x))
    run.backward(weights, torch.ones(50))
    estimate, gradient = run.forward(weights, x), run.backward(weights, x[:50])
    assert torch.equal(estimate, fresh.forward(weights, x))
    assert torch.equal(gradient, fresh.backward(weights, x[:50]))


def test_tanh_by_way_of_the_sigmoid_is_tanh_to_rounding():
    z = torch.linspace(-20.0, 20.0, 100_001)
    assert torch.max(torch.abs(tanh_(z.clone()).double() - torch.tanh(z.double()))) < 2e-7


def test_first_weights_follow_from_the_seed():
    config = ARCHITECTURES["nano"]
    assert np.array_equal(initial_weights(config, 1), initial_weights(config, 1))
    assert not np.array_equal(initial_weights(config, 1), initial_weights(config, 2))


def test_a_gated_network_cannot_be_trained():
    gated = WaveNetConfig((LayerArray(1, 2, 1, (1,), gated=True),))
    with pytest.raises(ValueError, match="only ungated"):
        Pass(gated, 10)


def test_refuses_weights_of_another_length():
    with pytest.raises(ValueError, match="expected 842 weights"):
        pack(ARCHITECTURES["nano"], np.zeros(841, np.float32))

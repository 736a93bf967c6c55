import numpy as np
import pytest
from pydantic import ValidationError

from profiler.model.architectures import NAMED, architecture, architecture_for, shortfall
from profiler.model.dense import DenseConfig
from profiler.model.lstm import LstmConfig
from profiler.model.network import Network
from profiler.model.streaming import real_time_factor, render
from profiler.model.training import TrainingOptions, train


def test_a_name_can_say_units_layers_history_and_widths():
    assert architecture("lstm-13") == LstmConfig(13)
    assert architecture("lstm-16x2") == LstmConfig(16, 2)
    assert architecture("dense-64-16-8") == DenseConfig(64, (16, 8))
    assert architecture("net-1") == architecture("dense-32-32-32")
    assert architecture("standard-10") == architecture("standard")
    assert [architecture(f"standard-{n}").receptive_field for n in (3, 12)] == [29, 16_381]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("huge", "unknown architecture 'huge': expected nano"),
        ("lstm", "unknown architecture"),
        ("lstm-7", "lstm-HxL of 8 to 64 units and 1 to 3 layers"),
        ("lstm-16x4", "1 to 3 layers"),
        ("standard-14", "standard-L of 1 to 13 layers"),
        ("dense-64", "unknown architecture"),
        ("dense-0-8", "of 1 to 16384 samples"),
        ("dense-64-8192", "widths of 1 to 4096"),
        ("../nano", "unknown architecture"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(name, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        architecture(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        TrainingOptions(architecture=name)


@pytest.mark.parametrize("name", NAMED)
def test_first_weights_follow_from_the_seed_and_make_a_sound(name):
    config = architecture(name)
    weights = config.initial_weights(1)
    assert weights.dtype == np.float32
    assert np.array_equal(weights, config.initial_weights(1))
    assert not np.array_equal(weights, config.initial_weights(2))
    noise = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    output = render(Network(config, weights, 8000), noise)
    assert np.std(output) > 1e-3


@pytest.mark.parametrize("name", ["a2-lite", "lstm-8", "net-1"])
def test_every_family_learns_and_plays_what_it_has_learned(name, capture, tmp_path):
    options = TrainingOptions(
        architecture=name, minutes=None, steps=80, window=2048, learning_rate=1e-2
    )
    model = train([capture], tmp_path / name, options)
    assert model.finished
    assert model.spec.receptive_field_samples == architecture(name).receptive_field
    assert model.validation_esr < 0.4  # rounding may differ from machine to machine
    played = render(model.network, capture.stimulus)
    assert np.max(np.abs(played - model.estimate(capture.stimulus))) < 1e-4


def test_the_real_time_factor_is_that_of_the_rate():
    weights = architecture("nano").initial_weights(0)
    factors = [
        real_time_factor(Network(architecture("nano"), weights, rate), seconds=0.1)
        for rate in (8_000, 192_000)
    ]
    assert factors[0] > 3 * factors[1] > 0.0  # 24 times, on a machine that is idle
    assert real_time_factor(Network(architecture("nano"), weights, None)) is None


def test_the_recommended_receptive_field_chooses_the_architecture():
    assert architecture_for(None) == "standard"
    assert architecture_for(4093) == "standard"
    assert architecture_for(4094) == "a2-full"
    assert architecture_for(100_000) == "a2-full"


def test_what_sees_less_than_the_device_remembers_is_told_with_both_times():
    assert shortfall("standard", 4093, 48_000) is None
    assert shortfall("standard", None, 48_000) is None
    assert shortfall("lstm-24", 100_000, 48_000) is None  # its state has no end
    short = shortfall("net-1", 4800, 48_000)
    assert "net-1 sees 32 samples (1 ms), but the device remembers for 4800 samples (100" in short
    assert short.endswith("a2-full sees 6347 samples (132 ms)")
    assert shortfall("a2-full", 9600, 48_000).endswith("it can only average")

import pytest

from profiler.cli.portrait import network_facts, network_json
from profiler.model.architectures import architecture
from profiler.model.network import Network


def network(name, sample_rate=48_000):
    config = architecture(name)
    return Network(config, config.initial_weights(0), sample_rate)


@pytest.mark.parametrize("name", ["nano", "a2-lite", "lstm-8", "net-1"])
def test_a_network_is_told_by_its_size_reach_products_and_speed(name):
    facts = dict(network_facts(name, network(name)))
    config = architecture(name)
    assert facts["architecture"] == f"{name}, {config.parameter_count} parameters"
    assert f"{config.receptive_field} samples (" in facts["receptive field"]
    assert ("a state of its own" in facts["receptive field"]) == config.recurrent
    assert facts["multiply-adds"] == f"{config.multiply_adds} a sample"
    assert facts["real time"].endswith("times, in blocks of 64 on one core")


def test_without_a_sample_rate_the_speed_is_not_measured():
    assert dict(network_facts("nano", network("nano", None)))["real time"] == "not measured"
    assert network_json(network("nano", None))["real_time_factor"] is None

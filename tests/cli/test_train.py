import json
from pathlib import Path

import numpy as np
import pytest

from profiler.export import nam
from profiler.model.architectures import architecture
from tests.cli.test_profile import SIGNAL


@pytest.fixture
def capture(ampscope):
    """A folder with a capture of `tweed`, whose supply sags for long."""
    Path("tiny.toml").write_text(SIGNAL)
    outcome = ampscope("capture", "tweed", "--signal", "./tiny.toml", "-o", "c", "-y")
    assert outcome.code == 0, outcome.err
    return ampscope


def train(ampscope, *arguments):
    return ampscope("train", "c", "--minutes", "0.02", "--learning-rate", "0.005", *arguments)


def test_the_receptive_field_chooses_the_architecture_and_what_is_short_of_it_is_said(capture):
    outcome = train(capture, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["spec"]["architecture"] == "a2-full"
    assert "a2-full sees 6347 samples (132 ms), but the device remembers for" in outcome.err
    network = result["network"]
    assert network["parameters"] == 12_146
    assert network["receptive_field_samples"] == 6347
    assert network["multiply_adds_a_sample"] > 10_000
    assert network["real_time_factor"] > 0.0
    asked_for = train(capture, "--architecture", "nano")
    assert asked_for.code == 0, asked_for.err
    assert "nano sees 4093 samples (85 ms)" in asked_for.err
    assert "a2-full sees 6347 samples (132 ms)\n" in asked_for.err
    facts = dict(line.split("  ", 1) for line in asked_for.out.splitlines() if "  " in line)
    assert facts["multiply-adds"].strip() == f"{architecture('nano').multiply_adds} a sample"
    assert "times, in blocks of 64" in facts["real time"]

    both = ("export", "c/models/a2-full", "--smaller", "c/models/nano", "-o", "both.nam")
    assert capture(*both).code == 0
    smaller, larger = nam.read_container(Path("both.nam"))
    assert smaller.network.config == architecture("nano")
    assert larger.network.config == architecture("a2-full")


def test_a_smaller_network_is_trained_beside_and_both_go_into_one_file(capture):
    outcome = train(capture, "--architecture", "a2-full", "--also", "a2-lite", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    smaller, larger = nam.read_container(Path(result["together"]))
    assert smaller.network.config == architecture("a2-lite")
    assert larger.network.config == architecture("a2-full")
    alone = nam.read(next(Path("c/models/a2-lite/exports").glob("*.nam")))
    assert np.array_equal(alone.network.weights, smaller.network.weights)
    assert np.array_equal(nam.read(Path(result["nam"])).network.weights, larger.network.weights)
    refused = train(capture, "--architecture", "nano", "--also", "net-1")
    assert refused.code == 1
    assert "no player plays a dense network" in refused.complaint
    assert not Path("c/models/net-1").exists()


def test_a_dense_network_is_rendered_but_not_exported(capture):
    outcome = train(capture, "--architecture", "net-1", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["nam"] is None
    assert "no player plays a dense network" in outcome.err
    assert not Path("c/models/net-1/exports").exists()
    assert capture("render", "c/models/net-1", "c/stimulus.wav", "out.wav").code == 0
    exported = capture("export", "c/models/net-1", "-o", "net.nam")
    assert exported.code == 1
    assert "no player plays a dense network" in exported.complaint
    refused = capture("profile", "tweed", "--architecture", "net-1", "-o", "d", "-y")
    assert refused.code == 1
    assert "no player plays a dense network" in refused.complaint
    assert not Path("d").exists()


def test_an_architecture_that_is_none_is_a_usage_error(ampscope):
    outcome = ampscope("train", "c", "--architecture", "lstm-7")
    assert outcome.code == 2
    assert "expected lstm-H or lstm-HxL of 8 to 64 units" in outcome.err

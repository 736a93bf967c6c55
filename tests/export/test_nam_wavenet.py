import json

import numpy as np
import pytest

from profiler.errors import ExportError
from profiler.export.nam import Metadata, load_model, read, read_container, write, write_container
from profiler.model.network import Network
from profiler.model.streaming import Streamer, render
from profiler.model.wavenet import A2, ARCHITECTURES, LayerArray, WaveNetConfig, initial_weights
from tests.export.player import SAMPLE_RATE, SIGNAL, played_by_the_official_player


def network(config, seed=0, sample_rate=SAMPLE_RATE):
    """A random network whose output is about as loud as a recording."""
    weights = initial_weights(config, seed)
    weights[-1] = 1.0
    weights[-1] = 0.3 / np.std(render(Network(config, weights, SAMPLE_RATE), SIGNAL))
    return Network(config, weights, sample_rate)


@pytest.mark.parametrize("name", A2)
def test_the_official_player_plays_an_a2_as_we_do(name, tmp_path):
    model = network(A2[name])
    write(tmp_path / "model.nam", model, Metadata(name=name))
    loaded = read(tmp_path / "model.nam")
    assert loaded.network.config == model.config
    assert np.array_equal(loaded.network.weights, model.weights)
    played = played_by_the_official_player(tmp_path)
    assert np.max(np.abs(played)) > 0.5
    assert np.max(np.abs(played - render(loaded.network, SIGNAL))) < 1e-5
    assert np.max(np.abs(played - Streamer(loaded.network).process(SIGNAL))) < 1e-5


@pytest.mark.parametrize("name", A2)
def test_an_a2_has_the_shape_that_the_player_s_fast_path_asks_for(name, tmp_path):
    write(tmp_path / "model.nam", network(A2[name]), Metadata())
    content = json.loads((tmp_path / "model.nam").read_text())
    (array,) = content["config"]["layers"]
    channels = {"a2-lite": 3, "a2-full": 8}[name]
    assert content["version"] == "0.7.0"
    assert array["channels"] == array["bottleneck"] == channels
    assert array["kernel_sizes"] == [6] * 14 + [15] * 2 + [6] * 7
    assert array["activation"] == [{"type": "LeakyReLU", "negative_slope": 0.01}] * 23
    assert array["layer1x1"] == {"active": True, "groups": 1}
    assert array["head"] == {"out_channels": 1, "kernel_size": 16, "bias": True}
    assert array["slimmable"] is None


def test_a_head_of_many_taps_after_a_second_array_is_played_as_the_player_does(tmp_path):
    config = WaveNetConfig(
        (
            LayerArray(1, 4, 3, (1, 20), kernel_size=(2, 5)),
            LayerArray(4, 3, 1, (3, 1), head_bias=True, activation="LeakyReLU", head_taps=5),
        )
    )
    model = network(config)
    write(tmp_path / "model.nam", model, Metadata())
    assert read(tmp_path / "model.nam").network.config == config
    played = played_by_the_official_player(tmp_path)
    assert np.max(np.abs(played - render(model, SIGNAL, fast_tanh=True))) < 1e-5


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kernel_sizes": [6, 7]}, "has 2 kernel sizes for 23 layers"),
        ({"activation": {"type": "LeakyReLU", "negative_slope": 0.2}}, "activation"),
        ({"activation": "SiLU"}, "activation: .* found 'SiLU'"),
        ({"gating_mode": "gated"}, "a gate beside LeakyReLU"),
        ({"layer1x1": {"active": False, "groups": 1}}, "layer1x1"),
        ({"head": {"out_channels": 1, "kernel_size": 0, "bias": True}}, "head_taps"),
    ],
)
def test_what_goes_beyond_an_a2_is_refused_in_one_line(changes, complaint, tmp_path):
    path = tmp_path / "model.nam"
    write(path, network(A2["a2-lite"]), Metadata())
    content = json.loads(path.read_text())
    content["config"]["layers"][0] |= changes
    path.write_text(json.dumps(content))
    with pytest.raises(ExportError, match=complaint) as caught:
        read(path)
    assert "\n" not in str(caught.value)


# -- containers -------------------------------------------------------------------------


def both(rate=SAMPLE_RATE):
    return [network(A2["a2-lite"], 1), network(A2["a2-full"], 2, rate)]


def test_a_container_is_read_back_and_the_largest_is_what_is_loaded(tmp_path):
    path = tmp_path / "model.nam"
    models = both()
    write_container(path, models, Metadata(name="both"))
    loaded = read_container(path)
    for one, other in zip(loaded, models, strict=True):
        assert one.network.config == other.config
        assert np.array_equal(one.network.weights, other.weights)
    assert np.array_equal(load_model(path).network.weights, models[-1].weights)
    submodels = json.loads(path.read_text())["config"]["submodels"]
    assert [submodel["max_value"] for submodel in submodels] == [0.5, 1.0]


def test_the_official_player_plays_a_model_of_a_container(tmp_path):
    models = both()
    write_container(tmp_path / "model.nam", models, Metadata())
    played = played_by_the_official_player(tmp_path)
    differences = [np.max(np.abs(played - render(model, SIGNAL))) for model in models]
    assert min(differences) < 1e-5
    assert max(differences) > 0.1


def test_a_container_of_one_model_or_of_two_rates_is_not_written(tmp_path):
    with pytest.raises(ExportError, match="got 1 models of 1 sample rates"):
        write_container(tmp_path / "model.nam", both()[:1], Metadata())
    with pytest.raises(ExportError, match="got 2 models of 2 sample rates"):
        write_container(tmp_path / "model.nam", both(44_100), Metadata())
    assert list(tmp_path.iterdir()) == []


def spoiled_container(path, spoil):
    write_container(path, [network(ARCHITECTURES["nano"], seed) for seed in (0, 1)], Metadata())
    content = json.loads(path.read_text())
    spoil(content["config"]["submodels"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.clear(), "submodels"),
        (lambda s: s[0].update(max_value=1.0), "max_value 1.0, 1.0, expected ascending"),
        (lambda s: s[1].update(max_value=0.9), "max_value 0.5, 0.9, expected ascending"),
        (lambda s: s[1]["model"].update(sample_rate=44_100), "different sample rates"),
        (lambda s: s[1]["model"].update(version="0.4.0"), "version '0.4.0'"),
        (lambda s: s[1]["model"].update(architecture="SlimmableContainer"), "in a container"),
        (lambda s: s[1]["model"]["weights"].pop(), "holds 841 weights"),
        (lambda s: s[1].pop("model"), "submodels.1.model: Field required"),
    ],
)
def test_a_container_that_players_would_not_take_is_refused_in_one_line(spoil, complaint, tmp_path):
    spoiled_container(tmp_path / "model.nam", spoil)
    with pytest.raises(ExportError, match=complaint) as caught:
        read_container(tmp_path / "model.nam")
    assert "\n" not in str(caught.value)


def test_a_single_model_is_no_container(tmp_path):
    write(tmp_path / "model.nam", network(ARCHITECTURES["nano"]), Metadata())
    with pytest.raises(ExportError, match="is a WaveNet model, expected a SlimmableContainer"):
        read_container(tmp_path / "model.nam")

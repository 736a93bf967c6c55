import dataclasses
import json

import numpy as np
import pytest

from benchmarks.stream_against_core import LstmSizes, nam_of
from profiler import kernels
from profiler.errors import ExportError
from profiler.export.nam import Metadata, load_model, read, read_container, write, write_container
from profiler.model.lstm import LstmConfig
from profiler.model.network import Network
from profiler.model.streaming import Streamer, player_of, render
from profiler.model.wavenet import A2, ARCHITECTURES, LayerArray, WaveNetConfig, initial_weights
from tests.export.player import SAMPLE_RATE, SIGNAL, played_by_the_official_player
from tests.kernels.plain import initial_weights as weights_of
from tests.kernels.plain import lstm_weights


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


# -- conditioned by the outputs of another model (`condition_dsp`) ---------------------------

LSTM = LstmSizes(8, 2, outputs=3)
INNER = (
    kernels.LayerArray(4, (1, 7), head_size=5),
    kernels.LayerArray(5, (3,), input_size=4, head_size=3, head_bias=True),
)
OUTER = (
    kernels.LayerArray(6, (1, 4, 9), head_size=3, condition_size=3),
    kernels.LayerArray(3, (2, 5), 2, input_size=6, condition_size=3, gated=True, head_bias=True),
)


def model_of(shape, seed=1):
    random = np.random.default_rng(seed)
    make = lstm_weights if isinstance(shape, LstmSizes) else weights_of
    return nam_of(shape, make(shape, random))


def conditioned(outer, inner):
    outer["config"]["condition_dsp"] = inner
    return outer


def three_storeys():
    middle = (OUTER[0], dataclasses.replace(OUTER[1], head_size=3))
    return conditioned(model_of(OUTER), conditioned(model_of(middle, 2), model_of(LSTM, 3)))


CONTENTS = {
    "a WaveNet": lambda: conditioned(model_of(OUTER), model_of(INNER, 2)),
    "an LSTM": lambda: conditioned(model_of(OUTER), model_of(LSTM, 2)),
    "three storeys": three_storeys,
}


def file_of(folder, content):
    path = folder / "model.nam"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", CONTENTS)
def test_is_read_and_played_by_both_engines_as_the_official_player_plays_it(name, tmp_path):
    network = read(file_of(tmp_path, CONTENTS[name]())).network
    reference = played_by_the_official_player(tmp_path)
    assert np.max(np.abs(reference)) > 0.1
    for engine in ("torch", "native") if kernels.available() else ("torch",):
        output = player_of(network, fast_tanh=True, engine=engine).process(SIGNAL)
        assert np.max(np.abs(output - reference)) < 1e-5
    # without its condition it is another one
    alone = dataclasses.replace(network, condition=None)
    with pytest.raises((ValueError, RuntimeError)):
        player_of(alone, engine="torch").process(SIGNAL)


def test_any_partition_into_blocks_gives_the_same_output_by_torch(tmp_path):
    network = read(file_of(tmp_path, CONTENTS["an LSTM"]())).network
    whole = player_of(network, engine="torch").process(SIGNAL)
    player = player_of(network, engine="torch")
    parts = [player.process(part) for part in np.split(SIGNAL, [0, 1, 700, 8000])]
    assert np.max(np.abs(np.concatenate(parts) - whole)) < 1e-6


def test_what_is_read_is_what_is_written_in_the_file(tmp_path):
    network = read(file_of(tmp_path, CONTENTS["an LSTM"]())).network
    assert network.condition.config == LstmConfig(8, 2, outputs=3)
    assert np.array_equal(network.condition.weights, np.float32(model_of(LSTM, 2)["weights"]))
    assert network.condition.condition is None
    assert [array.condition_size for array in network.config.arrays] == [3, 3]


def spoiled_inside(change):
    content = CONTENTS["an LSTM"]()
    change(content["config"]["condition_dsp"], content)
    return content


def nested(depth):
    content = model_of((kernels.LayerArray(1, (1,)),))
    for _ in range(depth):
        content = conditioned(model_of((kernels.LayerArray(1, (1,)),)), content)
    return content


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (model_of(OUTER), "condition_size is 3, but what drives its layers has 1 signals"),
        (model_of(INNER), "the last head has 3 outputs, expected 1"),
        (model_of(LSTM), "config.out_channels is 3, expected 1"),
        (
            conditioned(model_of(OUTER), model_of(LstmSizes(4, 1, outputs=2))),
            "condition_size is 3, but what drives its layers has 2 signals",
        ),
        (
            spoiled_inside(lambda inner, _: inner["weights"].pop()),
            "holds 922 weights, .* needs 923",
        ),
        (
            spoiled_inside(lambda inner, _: inner.pop("config")),
            "config.condition_dsp.config: Field requi",
        ),
        (spoiled_inside(lambda inner, _: inner.update(version="1.0.0")), "is of version '1.0.0'"),
        (
            spoiled_inside(lambda inner, _: inner.update(sample_rate=44_100)),
            "condition_dsp is of 44100 Hz",
        ),
        (
            spoiled_inside(lambda inner, _: inner.update(architecture="Linear")),
            "an impulse response",
        ),
        (
            spoiled_inside(lambda _, outer: outer["config"].update(condition_dsp=5)),
            "condition_dsp: ",
        ),
        (nested(9), "more than 8 models in each other"),
    ],
)
def test_one_that_does_not_fit_is_refused_in_one_line(content, complaint, tmp_path):
    path = file_of(tmp_path, content)
    with pytest.raises(ExportError, match=complaint) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_it_is_not_file_of(tmp_path):
    network = read(file_of(tmp_path, CONTENTS["a WaveNet"]())).network
    with pytest.raises(ExportError, match="read and played, not written"):
        write(tmp_path / "other.nam", network, Metadata())
    assert network.sample_rate == SAMPLE_RATE
    assert not (tmp_path / "other.nam").exists()

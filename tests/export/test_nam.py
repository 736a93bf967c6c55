import datetime
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from profiler.capture.calibration import LevelCalibration, nominal_return, nominal_send
from profiler.errors import ExportError, ProfilerError
from profiler.export import nam
from profiler.export.nam import (
    LinearModel,
    Metadata,
    check_playable,
    load_model,
    metadata_of,
    read,
    read_linear,
    write,
    write_linear,
)
from profiler.model.architectures import architecture
from profiler.model.lstm import LstmConfig
from profiler.model.network import Network
from profiler.model.streaming import render
from profiler.model.wavenet import (
    ARCHITECTURES,
    LayerArray,
    WaveNet,
    WaveNetConfig,
    initial_weights,
)
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.units import Level
from tests.export.player import SAMPLE_RATE, SIGNAL, played_by_the_official_player

HERE = Path(__file__).parent


def network(config, seed=0):
    """A random network whose output is about as loud as a recording."""
    weights = initial_weights(config, seed)
    weights[-1] = 0.5
    return WaveNet(config, weights, SAMPLE_RATE)


def independent(path, x):
    """A `.nam` evaluated in float64 from the file alone, by the format's description."""
    content = json.loads(path.read_text())
    weights = iter(content["weights"])

    def take(*shape):
        count = int(np.prod(shape))
        return np.array([next(weights) for _ in range(count)], np.float64).reshape(shape)

    # as a player: silence as long as the network remembers
    reach = sum((a["kernel_size"] - 1) * sum(a["dilations"]) for a in content["config"]["layers"])
    x = np.concatenate([np.zeros(reach + 1), np.asarray(x, np.float64)])
    h, head = x[None], 0.0
    for array in content["config"]["layers"]:
        channels, size = array["channels"], array["kernel_size"]
        outputs = 2 * channels if array["gated"] else channels
        h = take(channels, array["input_size"]) @ h
        for dilation in array["dilations"]:
            kernel, bias = take(outputs, channels, size), take(outputs)
            mixin = take(outputs, 1)
            residual, residual_bias = take(channels, channels), take(channels)
            z = bias[:, None] + mixin * x
            for tap in range(size):
                late = (size - 1 - tap) * dilation
                delayed = np.concatenate([np.zeros((channels, late)), h], axis=1)[:, : len(x)]
                z = z + kernel[:, :, tap] @ delayed
            a = np.tanh(z[:channels])
            if array["gated"]:
                a = a / (1.0 + np.exp(-z[channels:]))
            head = head + a
            h = h + residual @ a + residual_bias[:, None]
        head = take(array["head_size"], channels) @ head
        if array["head_bias"]:
            head = head + take(array["head_size"])[:, None]
    return (take(1) * head)[0, reach + 1 :]


@pytest.fixture
def written(tmp_path):
    """A small file that is right, as data to spoil, and the path to write it to."""
    path = tmp_path / "model.nam"
    config = WaveNetConfig((LayerArray(1, 2, 1, (1, 2), head_bias=True),))
    write(path, network(config), Metadata(name="small"))
    return json.loads(path.read_text()), path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_official_player_plays_what_we_evaluate_with_its_tanh(name, tmp_path):
    model = network(ARCHITECTURES[name])
    write(tmp_path / "model.nam", model, Metadata(name=name))
    played = played_by_the_official_player(tmp_path)
    ours = render(read(tmp_path / "model.nam").network, SIGNAL, fast_tanh=True)
    assert np.max(np.abs(played)) > 0.1
    assert np.max(np.abs(played - ours)) < 1e-5
    # the comparison can tell: with the exact tanh it fails
    assert np.max(np.abs(played - render(model, SIGNAL))) > 1e-5


GATED = WaveNetConfig(
    (
        LayerArray(1, 5, 3, (1, 16), gated=True),
        LayerArray(5, 3, 1, (2, 4, 1), kernel_size=2, gated=True, head_bias=True),
    )
)


@pytest.mark.parametrize("config", [*ARCHITECTURES.values(), GATED], ids=[*ARCHITECTURES, "gated"])
def test_plain_evaluation_equals_an_independent_one_in_float64(config, tmp_path):
    write(tmp_path / "model.nam", network(config), Metadata())
    ours = render(read(tmp_path / "model.nam").network, SIGNAL)
    expected = independent(tmp_path / "model.nam", SIGNAL)
    assert np.max(np.abs(expected)) > 0.1
    assert np.max(np.abs(ours - expected)) < 1e-5


def test_the_official_player_takes_the_sigmoid_of_a_gate_exactly_as_we_do(tmp_path):
    write(tmp_path / "model.nam", network(GATED), Metadata())
    played = played_by_the_official_player(tmp_path)
    ours = render(network(GATED), SIGNAL, fast_tanh=True)
    assert np.max(np.abs(played)) > 0.1
    assert np.max(np.abs(played - ours)) < 1e-6


def layers_of_the_trainer(**changes):
    common = {"condition_size": 1, "kernel_size": 3, "activation": "Tanh"} | changes
    head = {"kernel_size": 1}
    return [
        {
            "input_size": 1,
            "channels": 6,
            "head": {**head, "out_channels": 3, "bias": False},
            "dilations": [1, 2, 4, 8],
            **common,
        },
        {
            "input_size": 6,
            "channels": 3,
            "head": {**head, "out_channels": 1, "bias": True},
            "dilations": [8, 4, 1],
            **common,
        },
    ]


GATE = {"activation": {"name": "PairMultiply", "primary": "Tanh", "secondary": "Sigmoid"}}


@pytest.fixture(scope="module")
def trainer_s_own(tmp_path_factory):
    """Folders with a model.nam and an output.npy for `SIGNAL`, both by the NAM trainer."""
    folder = tmp_path_factory.mktemp("trainer")
    np.save(folder / "in.npy", SIGNAL)
    for name, changes in (("plain", {}), ("gated", GATE)):
        config = {"layers_configs": layers_of_the_trainer(**changes), "head_scale": 0.7}
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    subprocess.run(
        [
            *(sys.executable, HERE / "trainer_export.py", folder / "in.npy"),
            *(folder / "plain", folder / "gated"),
        ],
        check=True,
    )
    return folder


@pytest.mark.parametrize("name", ["plain", "gated"])
def test_a_file_from_the_nam_trainer_renders_like_the_trainer_s_own_forward(name, trainer_s_own):
    loaded = read(trainer_s_own / name / "model.nam")
    expected = np.load(trainer_s_own / name / "output.npy")
    assert loaded.sample_rate == SAMPLE_RATE
    assert loaded.network.config.arrays[0].gated == (name == "gated")
    history = loaded.network.config.receptive_field  # ours is prewarmed, theirs padded
    ours = render(loaded.network, SIGNAL)
    assert np.max(np.abs(expected)) > 0.1
    assert np.max(np.abs(ours - expected)[history:]) < 1e-5


def test_what_is_written_is_read_back_bit_by_bit(tmp_path):
    model = network(ARCHITECTURES["feather"], seed=5)
    write(tmp_path / "model.nam", model, Metadata(name="x", gear_type="amp"))
    loaded = read(tmp_path / "model.nam")
    assert loaded.network.config == model.config
    assert np.array_equal(loaded.network.weights, model.weights)
    assert loaded.sample_rate == SAMPLE_RATE
    assert loaded.metadata == {"name": "x", "gear_type": "amp"}


def test_the_file_has_the_keys_that_every_player_knows_and_no_null(written):
    content, path = written
    assert content["version"] == "0.5.4"
    assert content["architecture"] == "WaveNet"
    assert content["config"]["head"] is None
    assert content["config"]["head_scale"] == content["weights"][-1]
    assert list(content["config"]["layers"][0]) == [
        "input_size",
        "condition_size",
        "head_size",
        "channels",
        "kernel_size",
        "dilations",
        "activation",
        "gated",
        "head_bias",
    ]
    assert content["metadata"] == {"name": "small"}
    assert "sample_rate" in content
    network_without_rate = WaveNet(read(path).network.config, read(path).network.weights, None)
    write(path, network_without_rate, Metadata())
    assert "sample_rate" not in json.loads(path.read_text())


def test_metadata_says_what_was_measured_and_nothing_that_was_not():
    chain = Chain(make="Ampscope", model="Tweed", gear_type="amp", tone_type="crunch")
    created = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
    metadata = metadata_of(
        network(ARCHITECTURES["nano"]), chain=chain, validation_esr=0.01, created=created
    ).model_dump(exclude_none=True)
    assert metadata["date"] == {
        "year": 2026,
        "month": 3,
        "day": 4,
        "hour": 5,
        "minute": 6,
        "second": 7,
    }
    assert metadata["gear_make"] == "Ampscope"
    assert metadata["training"] == {"validation_esr": 0.01}
    assert not {"input_level_dbu", "output_level_dbu", "modeled_by"} & set(metadata)


@pytest.mark.parametrize(
    ("send", "return_", "expected"), [(16.0, 12.0, (16.0, 12.0)), (None, 3.0, (None, 3.0))]
)
def test_levels_in_dbu_are_those_of_send_and_return_as_far_as_they_are_known(
    send, return_, expected, tmp_path
):
    rig = Rig(name="r", maximum_send_dbfs=0.0, interface=SimulatedInterface(driver="simulated"))
    levels = LevelCalibration(
        send=None if send is None else nominal_send(rig, Level(send, "dBu")),
        return_=nominal_return(rig, Level(return_, "dBu")),
    )
    model = network(ARCHITECTURES["nano"])
    write(tmp_path / "model.nam", model, metadata_of(model, levels=levels))
    metadata = read(tmp_path / "model.nam").metadata
    found = (metadata.get("input_level_dbu"), metadata.get("output_level_dbu"))
    assert found == expected
    assert isinstance(metadata["output_level_dbu"], float)  # a string would crash players


def amplifier(gain, drive):
    """One layer that gives gain/drive tanh(drive x)."""
    config = WaveNetConfig((LayerArray(1, 1, 1, (1,), kernel_size=1, head_bias=True),))
    weights = np.zeros(config.parameter_count, np.float32)
    for part in config.parts:
        weights[part.slice] = {"mixin": drive, "head": 1.0, "head_scale": gain / drive}.get(
            part.name, 0.0
        )
    return WaveNet(config, weights, SAMPLE_RATE)


def test_a_linear_gain_has_its_loudness_and_no_gain_and_a_square_wave_has_all_of_it():
    linear = metadata_of(amplifier(2.0, 1e-3))
    assert linear.loudness == pytest.approx(nam.REFERENCE_RMS_DBFS + 6.02, abs=0.01)
    assert linear.gain == pytest.approx(0.0, abs=0.01)
    square = metadata_of(amplifier(1e6, 1e6))
    # the first of eleven levels is silence, so all but an eleventh of the square, doubled
    assert square.gain == pytest.approx(1 - 2 / 11, abs=0.03)


def test_a_rate_that_no_signal_is_made_for_has_a_loudness_too():
    linear = amplifier(1.0, 1e-3)
    odd = WaveNet(linear.config, linear.weights, 47_999)
    assert metadata_of(odd).loudness == pytest.approx(nam.REFERENCE_RMS_DBFS, abs=0.01)


def spoiled(**changes):
    return lambda content: content | changes


def in_layer(**changes):
    def change(content):
        content["config"]["layers"][0] |= changes
        return content

    return change


def without(key):
    return lambda content: {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda c: spoiled(weights=c["weights"][:-3])(c), "holds 47 weights, .* needs 50"),
        (lambda c: spoiled(weights=[*c["weights"], 0.0])(c), "holds 51 weights, .* needs 50"),
        (lambda c: spoiled(weights=[1e39, *c["weights"][1:]])(c), "not finite"),
        (lambda c: spoiled(weights=["x", *c["weights"][1:]])(c), "weights.0: .* found 'x'"),
        (spoiled(version="0.8.0"), "version '0.8.0', expected 0.5.0 to 0.7.x"),
        (spoiled(version="0.5"), "version '0.5'"),
        (spoiled(architecture="ConvNet"), "is a ConvNet model, expected a WaveNet or an LSTM"),
        (spoiled(sample_rate="fast"), "sample_rate: .* found 'fast'"),
        (spoiled(config={"layers": []}), "expected a list of layer arrays"),
        (without("config"), "config: Field required"),
        (in_layer(activation="ReLU"), "config.layers.0.activation: .* found 'ReLU'"),
        (in_layer(channels=0), "config.layers.0.channels: .* found 0"),
        (in_layer(condition_size=2), "config.layers.0.condition_size"),
        (in_layer(head_size=2), "the last head has 2 outputs"),
        (in_layer(input_size=3), "has 3 inputs and 2 channels, expected 1 and 2"),
        (in_layer(head={}, bottleneck=1), "layers.0.bottleneck: an A1 or A2 WaveNet does not have"),
        (in_layer(head={}, slimmable={"x": 1}), "layers.0.slimmable: an A1 or A2 WaveNet does"),
        (in_layer(head={}, conv_pre_film={"active": True}), "layers.0.conv_pre_film"),
        (lambda c: [c], "the file: Input should be"),
    ],
)
def test_a_file_that_is_no_a1_or_a2_wavenet_is_refused_in_one_line(written, spoil, complaint):
    content, path = written
    path.write_text(json.dumps(spoil(content)))
    with pytest.raises(ExportError, match=complaint) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: "[" * 9999])
def test_a_truncated_or_empty_file_is_refused_in_one_line(written, damage):
    _, path = written
    path.write_text(damage(path.read_text()))
    with pytest.raises(ExportError, match=r"is not a whole \.nam file") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_nan_is_refused_as_the_players_refuse_it(written):
    content, path = written
    path.write_text(json.dumps(spoiled(weights=[float("nan"), *content["weights"][1:]])(content)))
    with pytest.raises(ExportError, match="NaN is no number in JSON"):
        read(path)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no such file"):
        load_model(tmp_path / "nothing.nam")
    (tmp_path / "noise.nam").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ExportError, match=r"is not a whole \.nam file"):
        load_model(tmp_path / "noise.nam")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ExportError, match="is no model folder"):
        load_model(tmp_path)


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    model = network(ARCHITECTURES["nano"])
    model.weights[3] = np.nan
    with pytest.raises(ExportError, match="842 finite"):
        write(tmp_path / "model.nam", model, Metadata())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(tiny_disk):
    (tiny_disk / "song.wav").write_bytes(bytes(2**20 - 2**16))
    with pytest.raises(ProfilerError, match="cannot be written"):
        write(tiny_disk / "model.nam", network(ARCHITECTURES["standard"]), Metadata())
    assert [path.name for path in tiny_disk.iterdir()] == ["song.wav"]


# -- Linear -----------------------------------------------------------------------------


def decaying(taps=1000):
    rng = np.random.default_rng(4)
    return (0.2 * rng.standard_normal(taps) * np.exp(-np.arange(taps) / 200)).astype(np.float32)


@pytest.mark.parametrize("bias", [0.0, -0.125])
def test_the_official_player_plays_a_linear_model_as_the_convolution_that_it_is(bias, tmp_path):
    write_linear(tmp_path / "model.nam", LinearModel(decaying(), SAMPLE_RATE, bias))
    played = played_by_the_official_player(tmp_path)
    expected = np.convolve(SIGNAL.astype(np.float64), decaying())[: len(SIGNAL)] + bias
    assert np.max(np.abs(expected)) > 0.5
    # a thousand products in float32
    assert np.max(np.abs(played - expected)) < 1e-5


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_a_linear_model_is_read_back_bit_by_bit(bias, tmp_path):
    model = LinearModel(decaying(), SAMPLE_RATE, bias, metadata={"name": "twelve"})
    write_linear(tmp_path / "model.nam", model)
    loaded = read_linear(tmp_path / "model.nam")
    assert np.array_equal(loaded.impulse, model.impulse)
    assert (loaded.sample_rate, loaded.bias) == (SAMPLE_RATE, bias)
    assert loaded.metadata == {"name": "twelve"}
    content = json.loads((tmp_path / "model.nam").read_text())
    assert content["config"] == {"receptive_field": 1000, "bias": bias != 0.0}
    assert content["weights"][0] == decaying()[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": [1.0, 2.0]}, "holds 2 weights, but its config needs 4"),
        ({"config": {"receptive_field": 4}}, "config.bias: Field required: not a Linear model's"),
        ({"config": {"receptive_field": 0, "bias": False}}, "config.receptive_field: .* found 0"),
        ({"architecture": "LSTM"}, "is a LSTM model, expected a Linear one"),
        ({"version": "0.8.0"}, "version '0.8.0', expected 0.5.0 to 0.7.x"),
    ],
)
def test_a_file_that_is_no_linear_model_is_refused_in_one_line(changes, complaint, tmp_path):
    path = tmp_path / "model.nam"
    write_linear(path, LinearModel(decaying(4), SAMPLE_RATE))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ExportError, match=complaint) as caught:
        read_linear(path)
    assert "\n" not in str(caught.value)


def test_a_linear_model_is_no_amp_and_says_so(tmp_path):
    write_linear(tmp_path / "model.nam", LinearModel(decaying(4), SAMPLE_RATE))
    with pytest.raises(ExportError, match="an impulse response and no amp"):
        load_model(tmp_path / "model.nam")


@pytest.mark.parametrize("impulse", [[], [1.0, np.nan], np.ones((2, 2))])
def test_taps_that_cannot_be_played_are_never_written(impulse, tmp_path):
    with pytest.raises(ExportError, match="expected finite taps"):
        write_linear(tmp_path / "model.nam", LinearModel(np.array(impulse), SAMPLE_RATE))
    assert list(tmp_path.iterdir()) == []


# -- LSTM -------------------------------------------------------------------------------


def recurrent(config, seed=0):
    """A random network whose output is about as loud as a recording."""
    weights = config.initial_weights(seed)
    for part in config.parts:
        if part.name == "head":
            weights[part.slice] *= 4.0
    return Network(config, weights, SAMPLE_RATE)


@pytest.mark.parametrize("config", [LstmConfig(8), LstmConfig(24), LstmConfig(10, 2)])
def test_the_official_player_plays_an_lstm_as_we_do_with_its_tanh(config, tmp_path):
    model = recurrent(config)
    write(tmp_path / "model.nam", model, Metadata())
    loaded = read(tmp_path / "model.nam")
    assert loaded.network.config == config
    assert np.array_equal(loaded.network.weights, model.weights)
    played = played_by_the_official_player(tmp_path)
    assert np.max(np.abs(played)) > 0.1
    assert np.max(np.abs(played - render(loaded.network, SIGNAL, fast_tanh=True))) < 1e-5
    # the comparison can tell: with the exact tanh it fails
    assert np.max(np.abs(played - render(model, SIGNAL))) > 1e-5


def test_an_lstm_is_written_so_that_every_player_takes_it(tmp_path):
    write(tmp_path / "model.nam", recurrent(LstmConfig(8, 2)), Metadata())
    content = json.loads((tmp_path / "model.nam").read_text())
    assert content["version"] == "0.5.4"
    assert content["architecture"] == "LSTM"
    assert content["config"] == {"input_size": 1, "hidden_size": 8, "num_layers": 2}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda c: c["weights"].pop(), "holds 344 weights, but its config needs 345"),
        (lambda c: c["config"].update(hidden_size=9), "holds 345 weights"),
        (lambda c: c["config"].update(hidden_size=0), "config.hidden_size: .* found 0"),
        (lambda c: c["config"].update(input_size=2), "config.input_size: .* found 2"),
        (lambda c: c["config"].pop("num_layers"), "num_layers: Field required: not an LSTM's"),
    ],
)
def test_an_lstm_that_players_would_play_as_noise_is_refused_in_one_line(
    spoil, complaint, tmp_path
):
    path = tmp_path / "model.nam"
    write(path, recurrent(LstmConfig(8)), Metadata())
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ExportError, match=complaint) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_number_are_never_written(tmp_path):
    short = Network(LstmConfig(8), np.zeros(344, np.float32), SAMPLE_RATE)
    with pytest.raises(ExportError, match="344 weights, expected 345 finite"):
        write(tmp_path / "model.nam", short, Metadata())
    assert list(tmp_path.iterdir()) == []


def test_no_player_plays_a_dense_network_and_the_refusal_says_so(tmp_path):
    config = architecture("net-1")
    model = Network(config, config.initial_weights(0), SAMPLE_RATE)
    with pytest.raises(ExportError, match="no player plays a dense network"):
        write(tmp_path / "model.nam", model, Metadata())
    with pytest.raises(ExportError, match="no player plays a dense network"):
        check_playable(config)
    assert list(tmp_path.iterdir()) == []

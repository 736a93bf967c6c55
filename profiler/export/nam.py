"""`.nam` files: what the players of Neural Amp Modeler load.

A JSON object: `version`, `architecture`, `config`, `weights` (one flat list), `sample_rate`,
`metadata`. An A1 WaveNet is written as version 0.5.4 with the keys of that time, which every
player takes. Read are the A1 WaveNets of versions 0.5 to 0.7, in those keys and in the ones
that the NAM trainer writes since 0.7; whatever a newer file may hold beyond an A1 (bottlenecks,
FiLM, grouped convolutions, other activations) is refused by name. A cabinet is written and read as
a *Linear* model: its impulse response is all that is in it.

Conventions
-----------
Weights are as in `profiler.model.wavenet`; the last one is the head scale. Players ignore
`config.head_scale`, so it is written with the same value, and not read. Those of a Linear model
are the impulse response, the newest sample's tap first, then the bias where it has one.
"""

import datetime
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profiler.capture.calibration.levels import LevelCalibration
from profiler.definitions import Record, replacing
from profiler.errors import ExportError
from profiler.model.streaming import render
from profiler.model.training import SPEC_FILE, TrainedModel, load_trained
from profiler.model.wavenet import LayerArray, WaveNet, WaveNetConfig
from profiler.rig.rig import Chain, GearType, ToneType
from profiler.stimulus import synthesis
from profiler.stimulus.plan import SAMPLE_RATES, Guitar, SignalPlan
from profiler.units import db_to_amplitude, rms_dbfs

VERSION = "0.5.4"

# Loudness is the level of the output for a guitar of this level: that of the NAM trainer's own
# reference clip, whose samples are not ours to ship.
REFERENCE_RMS_DBFS = -15.0
REFERENCE_SECONDS = 4.0


class Date(Record):
    """When a model was made, in UTC."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @classmethod
    def of(cls, moment: datetime.datetime) -> "Date":
        moment = moment.astimezone(datetime.UTC)
        return cls(**{name: getattr(moment, name) for name in cls.model_fields})


class Training(Record):
    """How well the model does on what was held out."""

    validation_esr: float


class Metadata(Record):
    """What a player shows. What is not known is absent from the file."""

    date: Date | None = None
    loudness: float | None = None  # RMS of the output for the reference guitar, dB
    gain: float | None = Field(default=None, ge=0.0, le=1.0)  # 0 linear, 1 all compression
    name: str | None = None
    modeled_by: str | None = None
    gear_make: str | None = None
    gear_model: str | None = None
    gear_type: GearType | None = None
    tone_type: ToneType | None = None
    input_level_dbu: float | None = None  # RMS of a sine whose peak is 0 dBFS at the model's input
    output_level_dbu: float | None = None  # and at its output
    training: Training | None = None


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was found by its path."""

    path: Path
    network: WaveNet
    metadata: dict = field(default_factory=dict)  # as the file has it
    trained: TrainedModel | None = None  # for a model folder

    @property
    def sample_rate(self) -> int | None:
        """In Hz; None where a file does not say."""
        return self.network.sample_rate


@dataclass(frozen=True, eq=False)
class LinearModel:
    """An impulse response as a `.nam` holds it."""

    impulse: np.ndarray  # (n,) float32: the output for a sample of 1, then silence
    sample_rate: int | None  # in Hz; None where the file does not say
    bias: float = 0.0  # that is added to every sample
    metadata: dict = field(default_factory=dict)


def metadata_of(
    network: WaveNet,
    *,
    chain: Chain | None = None,
    levels: LevelCalibration | None = None,
    name: str | None = None,
    validation_esr: float | None = None,
    created: datetime.datetime | None = None,
) -> Metadata:
    """What is known of a network, its loudness and gain measured.

    `gain` is the NAM trainer's: RMS of the output for the reference guitar at eleven levels,
    from 0 to its full amplitude in equal steps, between a straight line (0) and a constant (1).
    """
    chain = chain or Chain()
    levels = levels or LevelCalibration()
    loudness, gain = _loudness_and_gain(network)
    return Metadata(
        date=Date.of(created or datetime.datetime.now(datetime.UTC)),
        loudness=loudness,
        gain=gain,
        name=name,
        gear_make=chain.make or None,
        gear_model=chain.model or None,
        gear_type=chain.gear_type,
        tone_type=chain.tone_type,
        input_level_dbu=levels.input_level_dbu,
        output_level_dbu=levels.output_level_dbu,
        training=None if validation_esr is None else Training(validation_esr=validation_esr),
    )


def write(path: Path, network: WaveNet, metadata: Metadata) -> None:
    """Write a `.nam`, beside its final name first.

    Raises
    ------
    ExportError
        Weights that are not finite or do not fit, or a network that players do not take.
    """
    weights = np.asarray(network.weights, np.float32)
    if weights.shape != (network.config.parameter_count,) or not np.isfinite(weights).all():
        raise ExportError(
            f"{path}: {weights.size} weights, expected {network.config.parameter_count} finite "
            "ones: train the model again"
        )
    content: dict[str, object] = {
        "version": VERSION,
        "architecture": "WaveNet",
        "config": {
            "layers": [_legacy_layer(array) for array in network.config.arrays],
            "head": None,
            "head_scale": float(weights[-1]),
        },
        "weights": [float(weight) for weight in weights],
        "metadata": metadata.model_dump(exclude_none=True),
    }
    if network.sample_rate is not None:  # players cannot read null
        content["sample_rate"] = network.sample_rate
    _write(path, content)


def write_linear(path: Path, model: LinearModel) -> None:
    """Write an impulse response as a Linear `.nam`, beside its final name first.

    A player computes it sample by sample, by as many products as it has taps: 8192 of them take a
    good part of a core.

    Raises
    ------
    ExportError
        No taps, or a tap or a bias that is not finite.
    """
    impulse = np.asarray(model.impulse, np.float32)
    if impulse.ndim != 1 or not impulse.size or not np.isfinite([*impulse, model.bias]).all():
        raise ExportError(
            f"{path}: got an impulse response of shape {impulse.shape}, expected finite taps: "
            "measure the cabinet again"
        )
    has_bias = model.bias != 0.0
    content: dict[str, object] = {
        "version": VERSION,
        "architecture": "Linear",
        "config": {"receptive_field": len(impulse), "bias": has_bias},
        "weights": [*map(float, impulse), *([float(model.bias)] if has_bias else [])],
        "metadata": model.metadata,
    }
    if model.sample_rate is not None:  # players cannot read null
        content["sample_rate"] = model.sample_rate
    _write(path, content)


def _write(path, content):
    with replacing(Path(path)) as beside:
        beside.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> LoadedModel:
    """The A1 WaveNet in a `.nam`.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    path = Path(path)
    file = _file(path)
    if file.architecture == "Linear":
        raise ExportError(
            f"{path}: is a Linear model, an impulse response and no amp: load it as a cabinet"
        )
    if file.architecture != "WaveNet":
        raise ExportError(f"{path}: is a {file.architecture} model, expected an A1 WaveNet")
    config = _config(file.config, path)
    weights = _weights(file, config.parameter_count, path)
    return LoadedModel(path, WaveNet(config, weights, file.rate), file.metadata or {})


def read_linear(path: Path) -> LinearModel:
    """The impulse response in a Linear `.nam`.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    path = Path(path)
    file = _file(path)
    if file.architecture != "Linear":
        raise ExportError(f"{path}: is a {file.architecture} model, expected a Linear one")
    config = _validated(_LinearConfig, file.config, path, "config")
    weights = _weights(file, config.receptive_field + config.bias, path)
    bias = float(weights[-1]) if config.bias else 0.0
    return LinearModel(
        weights[: config.receptive_field], file.rate, bias, metadata=file.metadata or {}
    )


def load_model(path: Path) -> LoadedModel:
    """The model that a path means: a `.nam` file or a model folder.

    Raises
    ------
    ExportError
        Neither of the two, or a file that cannot be read.
    TrainingError
        A folder whose model is damaged or has not been trained yet.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / SPEC_FILE).is_file():
            raise ExportError(f"{path}: is no model folder (no {SPEC_FILE}) and no .nam file")
        trained = load_trained(path)
        return LoadedModel(path, trained.wavenet, trained=trained)
    return read(path)


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _File(_Read):
    version: str
    architecture: str
    config: dict
    weights: list[Annotated[float, Field(allow_inf_nan=False)]]
    sample_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    metadata: dict | None = None

    @property
    def rate(self) -> int | None:
        return None if self.sample_rate is None else round(self.sample_rate)


_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _LinearConfig(_Read):
    receptive_field: _Count
    bias: bool


class _LegacyLayer(_Read):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input_size: _Count
    condition_size: Literal[1]
    head_size: _Count
    channels: _Count
    kernel_size: _Count
    dilations: list[_Count] = Field(min_length=1)
    activation: Literal["Tanh"]
    gated: bool
    head_bias: bool


# What the keys since 0.7 may say beyond an A1, and what an A1 says there.
_ABSENT_FROM_A1 = {
    "head1x1": False,
    "groups_input": 1,
    "groups_input_mixin": 1,
    "conv_pre_film": False,
    "conv_post_film": False,
    "input_mixin_pre_film": False,
    "input_mixin_post_film": False,
    "activation_pre_film": False,
    "activation_post_film": False,
    "layer1x1_post_film": False,
    "head1x1_post_film": False,
    "slimmable": None,
}


def _file(path):
    """What every `.nam` holds, of a version that is known."""
    file = _validated(_File, _parsed(path), path)
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", file.version)
    if match is None or (int(match[1]), int(match[2])) not in ((0, 5), (0, 6), (0, 7)):
        raise ExportError(
            f"{path}: is of version {file.version!r}, expected 0.5.0 to 0.7.x: export it again "
            "for a current player"
        )
    return file


def _weights(file, count, path):
    """The weights of a file, float32: so many, and finite."""
    with np.errstate(over="ignore"):  # too large for float32: refused below
        weights = np.asarray(file.weights, np.float64).astype(np.float32)
    if len(weights) != count:
        raise ExportError(
            f"{path}: holds {len(weights)} weights, but its config needs {count}: the file is "
            "damaged or was edited, export it again"
        )
    if not np.isfinite(weights).all():
        raise ExportError(f"{path}: holds weights that are not finite: export it again")
    return weights


def _parsed(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"{path}: is not a whole .nam file ({str(error).splitlines()[0]}): export or download "
            "it again"
        ) from None


def _refuse_constant(name):
    raise ValueError(f"{name} is no number in JSON")


def _validated(model, data, path, where=""):
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors()[0]
        key = ".".join(str(part) for part in (where, *details["loc"]) if part != "")
        found = details.get("input")
        shown = f", found {found!r}" if isinstance(found, str | int | float | None) else ""
        expected = "a Linear model" if model is _LinearConfig else "an A1 WaveNet"
        raise ExportError(
            f"{path}: {key or 'the file'}: {details['msg']}{shown}: not {expected}'s"
        ) from None


def _config(config, path):
    layers = config.get("layers")
    if not isinstance(layers, list) or not layers:
        raise ExportError(f"{path}: config.layers: expected a list of layer arrays")
    for key, expected in (("head", None), ("condition_dsp", None), ("in_channels", 1)):
        if config.get(key, expected) != expected:
            raise ExportError(f"{path}: config.{key} is set, which an A1 WaveNet does not have")
    arrays = tuple(
        _array(layer, path, f"config.layers.{number}") for number, layer in enumerate(layers)
    )
    _check_chain(arrays, path)
    return WaveNetConfig(arrays)


def _array(layer, path, where):
    if isinstance(layer, dict) and "head" in layer:
        layer = _in_legacy_keys(layer, path, where)
    value = _validated(_LegacyLayer, layer, path, where)
    return LayerArray(
        value.input_size,
        value.channels,
        value.head_size,
        tuple(value.dilations),
        value.kernel_size,
        gated=value.gated,
        head_bias=value.head_bias,
    )


def _in_legacy_keys(layer, path, where):
    """A layer array in the keys since 0.7, in those before."""

    def refuse(key):
        raise ExportError(f"{path}: {where}.{key}: an A1 WaveNet does not have this")

    plain = {key: _plain(value) for key, value in layer.items()}
    for key, expected in _ABSENT_FROM_A1.items():
        if plain.get(key, expected) != expected:
            refuse(key)
    if plain.get("bottleneck", plain.get("channels")) != plain.get("channels"):
        refuse("bottleneck")
    if plain.get("layer1x1", True) not in (True, {"active": True, "groups": 1}):
        refuse("layer1x1")
    if plain.get("gating_mode", "none") not in ("none", "gated"):
        refuse("gating_mode")
    if plain.get("secondary_activation") not in (None, "Sigmoid"):
        refuse("secondary_activation")
    head = plain["head"] if isinstance(plain["head"], dict) else {}
    if head.get("kernel_size", 1) != 1:
        refuse("head.kernel_size")
    legacy = {
        "head_size": head.get("out_channels"),
        "head_bias": head.get("bias"),
        "kernel_size": plain.get("kernel_size", plain.get("kernel_sizes")),
        "gated": plain.get("gating_mode") == "gated",
        "dilations": layer.get("dilations"),
    }
    same = ("input_size", "condition_size", "channels", "activation")
    return legacy | {key: plain[key] for key in same if key in plain}


def _plain(value):
    """One value for what is given layer by layer; "Tanh" for {"type": "Tanh"}; False if unused."""
    if isinstance(value, list) and value and all(each == value[0] for each in value):
        return _plain(value[0])
    if isinstance(value, dict) and value.get("active") is False:
        return False
    if isinstance(value, dict) and set(value) == {"type"}:
        return value["type"]
    return value


def _check_chain(arrays, path):
    """Every array must take what the one before gives, and the last give one output."""
    inputs, heads = 1, arrays[0].channels
    for number, array in enumerate(arrays):
        if (array.input_size, array.channels) != (inputs, heads):
            raise ExportError(
                f"{path}: config.layers.{number} has {array.input_size} inputs and "
                f"{array.channels} channels, expected {inputs} and {heads}"
            )
        inputs = array.channels
        heads = array.head_size
    if heads != 1:
        raise ExportError(f"{path}: the last head has {heads} outputs, expected 1")


def _legacy_layer(array):
    return {
        "input_size": array.input_size,
        "condition_size": array.condition_size,
        "head_size": array.head_size,
        "channels": array.channels,
        "kernel_size": array.kernel_size,
        "dilations": list(array.dilations),
        "activation": "Tanh",
        "gated": array.gated,
        "head_bias": array.head_bias,
    }


def _loudness_and_gain(network):
    known = network.sample_rate in SAMPLE_RATES
    guitar = _reference_guitar(network.sample_rate if known else 48_000)
    levels = np.linspace(0.0, 1.0, 11)
    outputs = [render(network, (level * guitar).astype(np.float32)) for level in levels]
    rms = np.array([np.sqrt(np.mean(np.square(output, dtype=np.float64))) for output in outputs])
    if rms[-1] == 0.0:
        return None, None
    constant = rms[-1] * len(levels)
    line = constant / 2.0
    gain = float(np.clip((rms.sum() - line) / (constant - line), 0.0, 1.0))
    return rms_dbfs(outputs[-1]), gain


def _reference_guitar(sample_rate):
    segment = Guitar(
        name="reference", kind="guitar", use="test", seconds=REFERENCE_SECONDS, lowest_db=-12.0
    )
    plan = SignalPlan(name="reference", segments=(segment,), sample_rate=sample_rate)
    guitar = np.asarray(synthesis.render(plan), np.float64)
    return guitar * db_to_amplitude(REFERENCE_RMS_DBFS - rms_dbfs(guitar))

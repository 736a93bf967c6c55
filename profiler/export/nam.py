"""`.nam` files: what the players of Neural Amp Modeler load.

A JSON object: `version`, `architecture`, `config`, `weights` (one flat list), `sample_rate`,
`metadata`. A1 WaveNets and LSTMs are written as version 0.5.4 with the keys of that time, which
every player takes; A2 WaveNets as 0.7.0, which players since core 0.4.1 take. Read are those of
versions 0.5 to 0.7; whatever a newer file may hold beyond is refused by name. A *container* holds
several whole models, the smallest first, for a player's quality knob. A WaveNet may hold another
model, whose outputs condition its layers (`condition_dsp`): that is read, not written. A cabinet is
written and read as a *Linear* model: its impulse response is all that is in it.

Conventions
-----------
Weights are as in `profiler.model.wavenet`, where the last one is the head scale, and
`profiler.model.lstm`. Players ignore `config.head_scale`, so it is written with the same value, and
not read; nor do they count the weights of an LSTM, so that is done here. Those of a Linear model
are the impulse response, the newest sample's tap first, then the bias where it has one.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from profiler.capture.calibration.levels import LevelCalibration
from profiler.definitions import Record
from profiler.errors import ExportError
from profiler.export.nam_file import (
    Count,
    File,
    Keys,
    check_version,
    read_file,
    validated,
    weights_of,
    write_file,
)
from profiler.export.nam_wavenet import content_of, is_legacy, wavenet_config
from profiler.model.lstm import LstmConfig
from profiler.model.network import Network, Shape
from profiler.model.streaming import render
from profiler.model.training import SPEC_FILE, TrainedModel, load_trained
from profiler.model.wavenet import WaveNetConfig
from profiler.rig.rig import Chain, GearType, ToneType
from profiler.stimulus import synthesis
from profiler.stimulus.plan import SAMPLE_RATES, Guitar, SignalPlan
from profiler.units import db_to_amplitude, rms_dbfs

VERSION = "0.5.4"
A2_VERSION = "0.7.0"  # the first that can say what an A2 is, and hold several models

MOST_NESTED = 8  # models that condition each other, in a file that is read

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
    network: Network
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
    network: Network,
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


def write(path: Path, network: Network, metadata: Metadata) -> None:
    """Write a `.nam`, beside its final name first.

    Raises
    ------
    ExportError
        Weights that are not finite or do not fit, or a network that players do not take.
    """
    write_file(path, _content(path, network, metadata))


def write_container(path: Path, networks: Sequence[Network], metadata: Metadata) -> None:
    """Write several networks of one device into one `.nam`, in the order of the quality knob.

    With the knob at 0, where the official plugin has it, a player takes the first.

    Parameters
    ----------
    networks : sequence of Network
        Two or more of one sample rate, the smallest first; each gets an equal part of the knob.

    Raises
    ------
    ExportError
        Fewer than two, of different sample rates, or one that cannot be written.
    """
    rates = {network.sample_rate for network in networks}
    if len(networks) < 2 or len(rates) != 1:
        raise ExportError(
            f"{path}: got {len(networks)} models of {len(rates)} sample rates, expected two or "
            "more of one rate"
        )
    content: dict[str, object] = {
        "version": A2_VERSION,
        "architecture": "SlimmableContainer",
        "config": {
            "submodels": [
                {
                    "max_value": number / len(networks),
                    "model": _content(path, network, metadata),
                }
                for number, network in enumerate(networks, start=1)
            ]
        },
        "weights": [],
        "metadata": metadata.model_dump(exclude_none=True),
    }
    write_file(path, _with_rate(content, networks[0].sample_rate))


def check_playable(config: Shape) -> None:
    """That players know the architecture.

    Raises
    ------
    ExportError
        None does, in one line.
    """
    if not isinstance(config, WaveNetConfig | LstmConfig):
        raise ExportError(
            "no player plays a dense network, so there is no file of it to write: `ampscope "
            "render` plays the model folder"
        )


def _content(path, network, metadata):
    """The whole object of a `.nam`."""
    check_playable(network.config)
    if network.condition is not None:
        raise ExportError(
            f"{path}: a model that another one conditions is read and played, not written: copy "
            "the file that it came from"
        )
    weights = np.asarray(network.weights, np.float32)
    if weights.shape != (network.config.parameter_count,) or not np.isfinite(weights).all():
        raise ExportError(
            f"{path}: {weights.size} weights, expected {network.config.parameter_count} finite "
            "ones: train the model again"
        )
    version = VERSION
    if isinstance(network.config, LstmConfig):
        architecture = "LSTM"
        config: dict[str, object] = {
            "input_size": 1,
            "hidden_size": network.config.hidden_size,
            "num_layers": network.config.num_layers,
        }
    else:
        architecture = "WaveNet"
        config = content_of(network.config, float(weights[-1]))
        version = VERSION if is_legacy(network.config) else A2_VERSION
    content: dict[str, object] = {
        "version": version,
        "architecture": architecture,
        "config": config,
        "weights": [float(weight) for weight in weights],
        "metadata": metadata.model_dump(exclude_none=True),
    }
    return _with_rate(content, network.sample_rate)


def _with_rate(content, sample_rate):
    # players cannot read null
    return content if sample_rate is None else content | {"sample_rate": sample_rate}


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
    write_file(path, _with_rate(content, model.sample_rate))


def read(path: Path) -> LoadedModel:
    """The WaveNet or LSTM in a `.nam`; of a container, the largest.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    path = Path(path)
    file = read_file(path)
    if file.architecture == "SlimmableContainer":
        return _submodels(file, path)[-1]
    return _loaded(file, path)


def read_container(path: Path) -> tuple[LoadedModel, ...]:
    """The models in a container, in the order of the quality knob.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    path = Path(path)
    file = read_file(path)
    if file.architecture != "SlimmableContainer":
        raise ExportError(f"{path}: is a {file.architecture} model, expected a SlimmableContainer")
    return _submodels(file, path)


def _submodels(file, path):
    config = validated(_ContainerConfig, file.config, path, "config", "a container")
    ends = [submodel.max_value for submodel in config.submodels]
    if ends != sorted(set(ends)) or ends[-1] < 1.0:
        raise ExportError(
            f"{path}: config.submodels: max_value {', '.join(map(str, ends))}, expected ascending "
            "ones, the last at least 1"
        )
    loaded = []
    for number, submodel in enumerate(config.submodels):
        where = f"config.submodels.{number}.model"
        model = validated(File, submodel.model, path, where, "a model")
        check_version(model, path)
        if model.architecture == "SlimmableContainer":
            raise ExportError(f"{path}: {where}: a container in a container")
        loaded.append(_loaded(model, path))
    if len({model.sample_rate for model in loaded}) != 1:
        raise ExportError(f"{path}: its models have different sample rates")
    return tuple(loaded)


def _loaded(file, path, *, outputs=1, depth=0):
    """A model; one that conditions another, at some depth, may have any number of outputs."""
    condition = None
    if file.architecture == "Linear":
        raise ExportError(
            f"{path}: is a Linear model, an impulse response and no amp: load it as a cabinet"
        )
    config: Shape
    if file.architecture == "WaveNet":
        condition = _conditioning(file, path, depth)
        conditions = _outputs_of(condition) if condition else 1
        config = wavenet_config(file.config, path, conditions=conditions, outputs=outputs)
    elif file.architecture == "LSTM":
        found = validated(_LstmConfig, file.config, path, "config", "an LSTM")
        if outputs not in (None, found.out_channels):
            raise ExportError(
                f"{path}: config.out_channels is {found.out_channels}, expected {outputs}"
            )
        config = LstmConfig(found.hidden_size, found.num_layers, found.out_channels)
    else:
        raise ExportError(f"{path}: is a {file.architecture} model, expected a WaveNet or an LSTM")
    weights = weights_of(file, config.parameter_count, path)
    network = Network(config, weights, file.rate, condition)
    return LoadedModel(path, network, file.metadata or {})


def _conditioning(file, path, depth):
    """The model in a WaveNet whose outputs condition its layers; None where there is none."""
    inside = file.config.get("condition_dsp")
    if inside is None:
        return None
    where = "config.condition_dsp"
    if depth == MOST_NESTED:
        raise ExportError(f"{path}: {where}: more than {MOST_NESTED} models in each other")
    model = validated(File, inside, path, where, "a model")
    check_version(model, path)
    condition = _loaded(model, path, outputs=None, depth=depth + 1).network
    if None not in (condition.sample_rate, file.rate) and condition.sample_rate != file.rate:
        raise ExportError(
            f"{path}: {where} is of {condition.sample_rate} Hz, but the model that it conditions "
            f"of {file.rate} Hz"
        )
    return condition


def _outputs_of(network):
    if isinstance(network.config, LstmConfig):
        return network.config.outputs
    return network.config.arrays[-1].head_size


def read_linear(path: Path) -> LinearModel:
    """The impulse response in a Linear `.nam`.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    path = Path(path)
    file = read_file(path)
    if file.architecture != "Linear":
        raise ExportError(f"{path}: is a {file.architecture} model, expected a Linear one")
    config = validated(_LinearConfig, file.config, path, "config", "a Linear model")
    weights = weights_of(file, config.receptive_field + config.bias, path)
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
        return LoadedModel(path, trained.network, trained=trained)
    return read(path)


class _LinearConfig(Keys):
    receptive_field: Count
    bias: bool


class _LstmConfig(Keys):
    input_size: Literal[1]
    hidden_size: Annotated[int, Field(ge=1, le=1024)]
    num_layers: Annotated[int, Field(ge=1, le=64)]
    out_channels: Annotated[int, Field(ge=1, le=1024)] = 1


class _Submodel(Keys):
    max_value: Annotated[float, Field(allow_inf_nan=False)]
    model: dict


class _ContainerConfig(Keys):
    submodels: list[_Submodel] = Field(min_length=1)


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

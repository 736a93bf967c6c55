"""The config of a WaveNet in a `.nam` file: A1 in the keys before 0.7, A2 in those since.

An A1 is written in the old keys, which every player takes. An A2 is written in the shape that the
player's fast path asks for: kernel sizes and activations as lists, `bottleneck` and `layer1x1`
present. Both are read in either keys; what a file may hold beyond (bottlenecks, FiLM, grouped
convolutions, other activations) is refused by name.
"""

from pydantic import ConfigDict, Field

from profiler.errors import ExportError
from profiler.export.nam_file import Count, Keys, validated
from profiler.model.wavenet import LEAK, Activation, LayerArray, WaveNetConfig


class _LegacyLayer(Keys):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input_size: Count
    condition_size: Count
    head_size: Count
    channels: Count
    kernel_size: Count | list[Count]
    dilations: list[Count] = Field(min_length=1)
    activation: Activation
    gated: bool
    head_bias: bool
    head_taps: Count = 1  # not a key of that time, but what the keys since 0.7 may ask for


# What the keys since 0.7 may say beyond an A1 or A2, and what those say there.
_ABSENT = {
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


def wavenet_config(
    config: dict, path, *, conditions: int = 1, outputs: int | None = 1
) -> WaveNetConfig:
    """The shape that a file describes.

    Parameters
    ----------
    conditions : int
        Signals that drive its layers: 1, the input, unless its `condition_dsp` has others.
    outputs : int, optional
        As many as it must have; any number of them for None.
    """
    layers = config.get("layers")
    if not isinstance(layers, list) or not layers:
        raise ExportError(f"{path}: config.layers: expected a list of layer arrays")
    for key, expected in (("head", None), ("in_channels", 1)):
        if config.get(key, expected) != expected:
            raise ExportError(
                f"{path}: config.{key} is set, which an A1 or A2 WaveNet does not have"
            )
    arrays = tuple(
        _array(layer, path, f"config.layers.{number}") for number, layer in enumerate(layers)
    )
    _check_chain(arrays, path, conditions, outputs)
    return WaveNetConfig(arrays)


def _array(layer, path, where):
    if isinstance(layer, dict) and "head" in layer:
        layer = _in_legacy_keys(layer, path, where)
    value = validated(_LegacyLayer, layer, path, where)
    sizes = value.kernel_size
    if isinstance(sizes, list) and len(sizes) != len(value.dilations):
        raise ExportError(
            f"{path}: {where} has {len(sizes)} kernel sizes for {len(value.dilations)} layers"
        )
    if value.gated and value.activation != "Tanh":
        raise ExportError(f"{path}: {where}: a gate beside {value.activation} is not known here")
    return LayerArray(
        value.input_size,
        value.channels,
        value.head_size,
        tuple(value.dilations),
        tuple(sizes) if isinstance(sizes, list) else sizes,
        condition_size=value.condition_size,
        gated=value.gated,
        head_bias=value.head_bias,
        activation=value.activation,
        head_taps=value.head_taps,
    )


def _in_legacy_keys(layer, path, where):
    """A layer array in the keys since 0.7, in those before."""

    def refuse(key):
        raise ExportError(f"{path}: {where}.{key}: an A1 or A2 WaveNet does not have this")

    plain = {key: _plain(value) for key, value in layer.items()}
    for key, expected in _ABSENT.items():
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
    legacy = {
        "head_size": head.get("out_channels"),
        "head_bias": head.get("bias"),
        "kernel_size": plain.get("kernel_size", plain.get("kernel_sizes")),
        "gated": plain.get("gating_mode") == "gated",
        "head_taps": head.get("kernel_size", 1),
        "dilations": layer.get("dilations"),
    }
    same = ("input_size", "condition_size", "channels", "activation")
    return legacy | {key: plain[key] for key in same if key in plain}


_LEAKY_RELU = {"type": "LeakyReLU", "negative_slope": LEAK}


def _plain(value):
    """One value for what is given layer by layer; "Tanh" for {"type": "Tanh"}; False if unused."""
    if isinstance(value, list) and value and all(each == value[0] for each in value):
        return _plain(value[0])
    if isinstance(value, dict) and value.get("active") is False:
        return False
    if isinstance(value, dict) and set(value) == {"type"}:
        return value["type"]
    if value == _LEAKY_RELU:
        return "LeakyReLU"
    return value


def _check_chain(arrays, path, conditions, outputs):
    """Every array must take what the one before gives and what drives them all."""
    if any(array.head_taps > 1 for array in arrays[:-1]):
        raise ExportError(f"{path}: a head of more than one tap before the last array")
    inputs, heads = 1, arrays[0].channels
    for number, array in enumerate(arrays):
        if (array.input_size, array.channels) != (inputs, heads):
            raise ExportError(
                f"{path}: config.layers.{number} has {array.input_size} inputs and "
                f"{array.channels} channels, expected {inputs} and {heads}"
            )
        if array.condition_size != conditions:
            raise ExportError(
                f"{path}: config.layers.{number}.condition_size is {array.condition_size}, but "
                f"what drives its layers has {conditions} signals"
            )
        inputs = array.channels
        heads = array.head_size
    if outputs not in (None, heads):
        raise ExportError(f"{path}: the last head has {heads} outputs, expected {outputs}")


def is_legacy(config: WaveNetConfig) -> bool:
    """Whether the keys before 0.7 can say what a network is."""
    return all(
        array.activation == "Tanh" and array.head_taps == 1 and isinstance(array.kernel_size, int)
        for array in config.arrays
    )


def content_of(config: WaveNetConfig, head_scale: float) -> dict:
    """`config` of a file: in the keys before 0.7 where they suffice."""
    layer_of = _legacy_layer if is_legacy(config) else _layer
    content = {
        "layers": [layer_of(array) for array in config.arrays],
        "head": None,
        "head_scale": head_scale,
    }
    return content if is_legacy(config) else content | {"in_channels": 1}


def _layer(array):
    """As the NAM trainer writes it; the player's fast path compares it key by key."""
    layers = len(array.dilations)
    leaky = array.activation == "LeakyReLU"
    unused = {"active": False, "shift": True, "groups": 1}
    films = [key for key in _ABSENT if key.endswith("_film")]
    return {
        "input_size": array.input_size,
        "condition_size": array.condition_size,
        "head": {
            "out_channels": array.head_size,
            "kernel_size": array.head_taps,
            "bias": array.head_bias,
        },
        "channels": array.channels,
        "bottleneck": array.channels,
        "kernel_sizes": list(array.kernel_sizes),
        "dilations": list(array.dilations),
        "activation": [dict(_LEAKY_RELU) if leaky else {"type": "Tanh"}] * layers,
        "gating_mode": ["gated" if array.gated else "none"] * layers,
        "secondary_activation": [{"type": "Sigmoid"} if array.gated else None] * layers,
        "layer1x1": {"active": True, "groups": 1},
        "head1x1": {"active": False, "out_channels": 1, "groups": 1},
        "groups_input": 1,
        "groups_input_mixin": 1,
        **dict.fromkeys(films, unused),
        "slimmable": None,
    }


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

"""The definition of a rig: the interface, the chain that is measured, and the ceiling."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from profiler.definitions import Record, find
from profiler.rig.faults import Faults

# As the players' metadata has them.
GearType = Literal["amp", "pedal", "pedal_amp", "amp_cab", "amp_pedal_cab", "preamp", "studio"]
ToneType = Literal["clean", "overdrive", "crunch", "hi_gain", "fuzz"]

Channel = Annotated[int, Field(ge=1, le=256)]


class SimulatedInterface(Record):
    """An audio interface in software: a known delay, gain, noise and band."""

    driver: Literal["simulated"] = Field(description="a virtual interface and device")
    sample_rate: int = Field(default=48_000, description="in Hz")
    block_size: int = Field(default=256, ge=1, description="frames a callback")
    round_trip_samples: float = Field(
        default=1234.567, ge=32.0, description="latency out and in again, in samples"
    )
    gain_db: float = Field(default=0.0, description="from the device's output to the recording, dB")
    polarity: Literal[1, -1] = Field(default=1, description="-1 inverts the return")
    noise_rms_dbfs: float = Field(default=-100.0, description="noise of the converters, RMS dBFS")
    low_cut_hz: float = Field(default=2.0, ge=0.0, description="AC coupling, first order; 0 is off")
    high_cut_ratio: float = Field(
        default=0.45,
        gt=0.1,
        le=0.5,
        description="edge of the converters' band re the sample rate; 0.5 is off",
    )
    loopback_channel: Channel | None = Field(
        default=None, description="input channel that records the send directly, if any"
    )
    di_channel: Channel | None = Field(
        default=None,
        description="input channel that records the line or DI signal before the cabinet, if any",
    )
    gain_position: str | None = Field(
        default=None, description="where the knob of the return's input gain stands"
    )
    seed: int = Field(default=0, ge=0, description="of the noise")
    faults: Faults = Field(
        default_factory=dict, description="what goes wrong on purpose, a table for each fault"
    )


class PortAudioInterface(Record):
    """A real audio interface, by name and host API, never by index."""

    driver: Literal["portaudio"] = Field(description="real audio through PortAudio")
    device: str = Field(description="name of the device, or a part of it that only it has")
    return_device: str | None = Field(
        default=None, description="the recording device, where it is another than `device`"
    )
    host_api: str | None = Field(
        default=None, description="ALSA, JACK, ASIO, WASAPI, Core Audio ... where several have it"
    )
    send_channel: Channel = Field(default=1, description="output channel to the amp, from 1")
    return_channel: Channel = Field(default=1, description="input channel from the amp, from 1")
    loopback_channel: Channel | None = Field(
        default=None, description="input channel that records the send directly, if any"
    )
    sample_rate: int = Field(default=48_000, description="in Hz")
    block_size: int = Field(default=0, ge=0, description="frames a callback; 0 lets the driver say")
    di_channel: Channel | None = Field(
        default=None,
        description="input channel that records the line or DI signal before the cabinet, if any",
    )
    gain_position: str | None = Field(
        default=None, description="where the knob of the return's input gain stands"
    )


class FileInterface(Record):
    """A pair recorded elsewhere, in place of an interface."""

    driver: Literal["file"] = Field(description="a pair of WAV files recorded elsewhere")
    stimulus: str = Field(description="WAV that was played; a relative path starts at the rig file")
    response: str = Field(description="WAV that was recorded")
    return_channel: Channel | None = Field(
        default=None, description="channel of the response, from 1, where its channels differ"
    )
    delay_samples: float | None = Field(
        default=None, description="response behind stimulus, where it is known better"
    )


AnyInterface = Annotated[
    SimulatedInterface | PortAudioInterface | FileInterface, Field(discriminator="driver")
]


def recorded_channels(interface: SimulatedInterface | PortAudioInterface) -> tuple[int, ...]:
    """Input channels of the columns of a recording, from 1.

    The return, then the loopback, then the DI, as far as the rig has them.
    """
    returned = 1 if interface.driver == "simulated" else interface.return_channel
    beside = (interface.loopback_channel, interface.di_channel)
    return (returned, *(channel for channel in beside if channel is not None))


def di_column(interface: AnyInterface) -> int | None:
    """Column of a recording that holds the DI; None where none was recorded."""
    if interface.driver == "file" or interface.di_channel is None:
        return None
    return len(recorded_channels(interface)) - 1


class Chain(Record):
    """The device under test: what it is and how it is set."""

    make: str = Field(default="", description="who built it")
    model: str = Field(default="", description="what it is called")
    controls: dict[str, float | str] = Field(
        default_factory=dict, description="every knob and switch, as it stands"
    )
    load: str = Field(default="", description="speaker, load box or none")
    gear_type: GearType = Field(default="amp", description="what the chain contains")
    tone_type: ToneType | None = Field(default=None, description="how it sounds")
    circuit: Literal["wire", "tweed", "drive"] | None = Field(
        default=None, description="the virtual device of a simulated interface"
    )


class Rig(Record):
    """A rig as written in `rigs/*.toml`."""

    name: str = Field(description="name of the rig")
    description: str = Field(default="", description="what it is, in a line")
    maximum_send_dbfs: float = Field(
        le=0.0, description="ceiling: no sample above this peak is ever played"
    )
    maximum_send_dbu: float | None = Field(
        default=None,
        description="the same ceiling in dBu (RMS of a sine of that peak); needs a calibrated send",
    )
    maximum_full_power_seconds: float | None = Field(
        default=None,
        gt=0.0,
        description="seconds of a take within 6 dB of the ceiling; 180 where sound is real",
    )
    maximum_tone_duty: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="share of a take that tones less than 12 dB below the ceiling may last; 0.7 "
        "where sound is real",
    )
    lowest_sweep_hz: float | None = Field(
        default=None,
        gt=0.0,
        description="lowest frequency of a sweep or tone; 20 where sound is real",
    )
    interface: AnyInterface = Field(description="how the device is reached")
    chain: Chain = Field(default=Chain(), description="the device under test")

    @property
    def fingerprint(self) -> str:
        """The same for a rig as long as nothing of it is changed: 16 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_rig(name: str) -> Rig:
    """The rig that a bare name or a path means.

    Raises
    ------
    DefinitionError
        No such rig, or one that cannot be meant.
    """
    path = find("rigs", name)
    rig = Rig.load_toml(path)
    if rig.interface.driver != "file":
        return rig
    folder = path.parent.resolve()
    anchored = rig.interface.model_copy(
        update={key: str(folder / Path(getattr(rig.interface, key))) for key in _PATHS}
    )
    return rig.model_copy(update={"interface": anchored})


_PATHS = ("stimulus", "response")

import pytest

from profiler.definitions import available
from profiler.errors import DefinitionError
from profiler.rig.rig import Rig, di_column, load_rig, recorded_channels

DELUXE = """
name = "deluxe"
maximum_send_dbfs = -6

[interface]
driver = "portaudio"
device = "Scarlett"
host_api = "ALSA"
return_channel = 2

[chain]
make = "Fender"
controls = {volume = 6.5, bright = "on"}
gear_type = "amp"
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load_rig(str(path))

    return load


@pytest.mark.parametrize("name", sorted(available("rigs")))
def test_every_shipped_rig_can_be_loaded(name):
    assert load_rig(name).name == name


def test_a_rig_file_says_interface_chain_and_ceiling(load):
    rig = load(DELUXE)
    assert rig.maximum_send_dbfs == -6.0
    assert (rig.interface.driver, rig.interface.device) == ("portaudio", "Scarlett")
    assert (rig.interface.send_channel, rig.interface.return_channel) == (1, 2)
    assert rig.chain.controls == {"volume": 6.5, "bright": "on"}


def test_a_rig_survives_saving_and_loading(load, tmp_path):
    rig = load(DELUXE)
    rig.save(tmp_path / "rig.json")
    assert Rig.load_json(tmp_path / "rig.json") == rig


def test_a_simulated_interface_has_the_round_trip_that_the_documentation_names(load):
    rig = load('name = "loop"\nmaximum_send_dbfs = 0\n[interface]\ndriver = "simulated"\n')
    assert rig.interface.round_trip_samples == 1234.567
    assert rig.chain.gear_type == "amp"


@pytest.mark.parametrize(
    ("wrong", "right", "complaint"),
    [
        (
            "maximum_send_dbf",
            "maximum_send_dbfs",
            r"unknown key maximum_send_dbf: did you mean maximum_send_dbfs \(ceiling: no sample",
        ),
        (
            "devcie",
            "device",
            r"unknown key interface\.devcie: did you mean device \(name of the device, or a part",
        ),
        (
            'gear_type = "amplifier"',
            'gear_type = "amp"',
            r"chain\.gear_type \(what the chain contains\): Input should be 'amp', 'pedal'",
        ),
        (
            'driver = "alsa"',
            'driver = "portaudio"',
            r"interface \(how the device is reached\): .*'simulated', 'portaudio', 'file'",
        ),
        (
            "return_channel = 0",
            "return_channel = 2",
            r"interface\.return_channel \(input channel from the amp, from 1\): .* got 0",
        ),
        (
            "maximum_send_dbfs = 3",
            "maximum_send_dbfs = -6",
            r"maximum_send_dbfs \(ceiling: .*less than or equal to 0, got 3",
        ),
    ],
)
def test_a_wrong_rig_file_is_refused_with_file_key_and_meaning(load, wrong, right, complaint):
    assert right in DELUXE
    with pytest.raises(DefinitionError, match=r"mine\.toml: " + complaint) as refusal:
        load(DELUXE.replace(right, wrong, 1))
    assert "\n" not in str(refusal.value)


def test_a_key_of_another_driver_is_refused(load):
    with pytest.raises(DefinitionError, match=r"unknown key interface\.polarity"):
        load(DELUXE.replace("return_channel = 2", "polarity = -1"))


PAIR = """
name = "from the studio"
maximum_send_dbfs = 0
[interface]
driver = "file"
stimulus = "played.wav"
response = "/takes/recorded.wav"
"""


def test_the_files_of_a_pair_are_looked_for_beside_the_rig_file(load, tmp_path):
    rig = load(PAIR)
    assert rig.interface.stimulus == str(tmp_path / "played.wav")
    assert rig.interface.response == "/takes/recorded.wav"


@pytest.mark.parametrize(
    ("keys", "channels", "column"),
    [
        ("", (2,), None),
        ("loopback_channel = 5", (2, 5), None),
        ("di_channel = 4", (2, 4), 1),
        ("di_channel = 4\nloopback_channel = 5", (2, 5, 4), 2),
    ],
)
def test_return_loopback_and_di_are_recorded_in_that_order(load, keys, channels, column):
    interface = load(DELUXE.replace("return_channel = 2", f"return_channel = 2\n{keys}")).interface
    assert recorded_channels(interface) == channels
    assert di_column(interface) == column

import tomllib
from pathlib import Path

import pytest

from profiler.capture.safety import MAXIMUM_FULL_POWER_SECONDS, MAXIMUM_TONE_DUTY
from profiler.errors import DefinitionError
from profiler.rig.rig import Rig
from profiler.rig.template import QUESTIONS, fill

ANSWERED = {"name": "deluxe", "device": "Scarlett"}


def _rig(**answers):
    return Rig.from_data(tomllib.loads(fill(ANSWERED | answers)), Path("deluxe.toml"))


def test_defaults_make_a_careful_rig():
    rig = _rig()
    assert rig.interface.driver == "portaudio"
    assert rig.interface.device == "Scarlett"
    assert (rig.interface.send_channel, rig.interface.return_channel) == (1, 1)
    assert rig.interface.loopback_channel is None
    assert rig.interface.host_api is None
    assert rig.maximum_send_dbfs == -12.0
    assert rig.maximum_send_dbu is None
    assert rig.lowest_sweep_hz == 20.0
    # said in the file, as they are without it
    assert rig.maximum_full_power_seconds == MAXIMUM_FULL_POWER_SECONDS
    assert rig.maximum_tone_duty == MAXIMUM_TONE_DUTY


def test_every_answer_arrives():
    rig = _rig(
        description="the loud one",
        make="Fender",
        model="Deluxe",
        gear_type="amp_cab",
        controls=" volume = 6.5, bright switch=on , presence=0, jewel=07",
        load="8 ohm load box",
        host_api="JACK",
        send_channel="3",
        return_channel="4",
        loopback_channel="5",
        sample_rate="96000",
        maximum_send_dbfs="-7.5",
        maximum_send_dbu="4",
        lowest_sweep_hz="70",
    )
    assert rig.description == "the loud one"
    chain, interface = rig.chain, rig.interface
    assert (chain.make, chain.model, chain.gear_type) == ("Fender", "Deluxe", "amp_cab")
    assert chain.controls == {"volume": 6.5, "bright switch": "on", "presence": 0.0, "jewel": "07"}
    assert chain.load == "8 ohm load box"
    assert interface.host_api == "JACK"
    channels = interface.send_channel, interface.return_channel, interface.loopback_channel
    assert channels == (3, 4, 5)
    assert interface.sample_rate == 96_000
    assert rig.maximum_send_dbfs == -7.5
    assert rig.maximum_send_dbu == 4.0
    assert rig.lowest_sweep_hz == 70.0


@pytest.mark.parametrize(
    "text",
    ['a "quoted" one', "back\\slash", "tab\tand\nline", "bell\x07 delete\x7f", "$ ${make} €"],
)
def test_any_text_survives(text):
    rig = _rig(make=text, device=text, controls=f"{text}={text}")
    assert rig.chain.make == text
    assert rig.interface.device == text
    assert rig.chain.controls == {text: text}


def test_the_file_keeps_its_comments():
    text = fill(ANSWERED)
    assert "# Before the first sound: a speaker or a load box is connected" in text
    assert "${" not in text


@pytest.mark.parametrize(
    ("key", "answer", "complaint"),
    [
        ("device", " ", "device: expected a name"),
        ("send_channel", "one", "send_channel: expected a whole number, got 'one'"),
        ("return_channel", "0", r"return_channel .*greater than or equal to 1"),
        ("maximum_send_dbfs", "3", r"maximum_send_dbfs .*less than or equal to 0"),
        ("maximum_send_dbfs", "-inf", "maximum_send_dbfs: expected a number, got '-inf'"),
        ("maximum_send_dbu", "loud", "maximum_send_dbu: expected a number, got 'loud'"),
        ("lowest_sweep_hz", "0", r"lowest_sweep_hz .*greater than 0"),
        ("gear_type", "banjo", "gear_type"),
        ("controls", "gain", "controls: expected name=position, got 'gain'"),
        ("controls", "gain=1, gain=2", "controls: 'gain' is there twice"),
    ],
)
def test_an_answer_that_cannot_be_meant_is_refused_by_its_key(key, answer, complaint):
    with pytest.raises(DefinitionError, match=complaint):
        fill(ANSWERED | {key: answer})


def test_an_answer_to_no_question_is_a_bug():
    with pytest.raises(ValueError, match="not asked: colour"):
        fill(ANSWERED | {"colour": "red"})


def test_every_question_says_what_it_means():
    assert all(question.prompt and question.help for question in QUESTIONS)
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS)

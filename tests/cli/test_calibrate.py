"""Calibration from the command line, on simulated rigs and on a card of the test's own."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from profiler.capture.calibration import stored_levels
from profiler.capture.folder import CaptureFolder
from profiler.definitions import shipped_folder
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import load_rig
from profiler.units import volts_to_dbu

RATE = 48_000
ONE_VOLT_PEAK_DBU = volts_to_dbu(np.sqrt(0.5))

HARDWARE = """
name = "bench"
maximum_send_dbfs = -3.0
[interface]
driver = "portaudio"
device = "Scarlett"
"""


class Card:
    """A sound card of 4 V peak at full scale of its send, with a meter there."""

    sample_rate = RATE
    channels = 1

    def __init__(self):
        self.volts_rms = []  # of each tone that was played

    def play_record(self, stimulus, frames, on_block, watch=None):
        samples = np.concatenate(list(stimulus)).astype(np.float64)
        self.volts_rms.append(4.0 * np.max(np.abs(samples)) / np.sqrt(2))
        on_block(Block(samples.astype(np.float32)[:, None], 0))
        return StreamReport("portaudio", "Scarlett", RATE, frames, 1, (frames,))


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr("profiler.rig.connect.connect", lambda rig: card)
    Path("bench.toml").write_text(HARDWARE)
    return card


@pytest.fixture
def typed(monkeypatch):
    """What the person types, line by line."""

    def type_(*lines):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_


def wire_with(*lines):
    """The shipped wire with lines of its interface replaced."""
    text = (shipped_folder("rigs") / "wire.toml").read_text()
    path = Path("mine.toml")
    path.write_text(text.replace("[chain]", "\n".join((*lines, "[chain]"))))
    return path


def test_latency_is_measured_kept_and_shown(ampscope):
    outcome = ampscope("calibrate", "latency", "wire", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert found["schema"] == "ampscope.latency/1"
    assert found["round_trip_samples"] == pytest.approx(1234.567, abs=1e-3)
    assert found["conditions"]["block_size"] == 256
    shown = json.loads(ampscope("calibrate", "show", "wire", "--json").out)
    assert shown["latency"] == found
    assert (shown["send"], shown["returns"]) == (None, [])


def test_a_latency_under_other_conditions_is_not_shown_but_what_differs_is(ampscope):
    ampscope("calibrate", "latency", "wire")
    outcome = ampscope("calibrate", "show", wire_with("block_size = 64"))
    assert "round trip  unknown" in outcome.out
    assert "does not hold here: block_size was 256 and is 64" in outcome.err


def test_a_simulated_rig_has_a_meter_and_a_cable_of_its_own(ampscope):
    """Known volts: 1.0 is 1 V peak at the send, and the return of this wire is 6 dB lower."""
    rig = wire_with("gain_db = -6.0", 'gain_position = "noon"')
    assert ampscope("calibrate", "send", rig).code == 0
    outcome = ampscope("calibrate", "return", rig)
    assert outcome.code == 0
    assert "(gain at noon)" in " ".join(outcome.out.split())
    levels = stored_levels(load_rig(str(rig)))
    assert levels.input_level_dbu == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.05)
    assert levels.output_level_dbu == pytest.approx(ONE_VOLT_PEAK_DBU + 6.0, abs=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        lambda volts: f"{1e3 * volts:.4g} mV",
        lambda volts: f"{volts:.4g}V",
        lambda volts: f"{volts_to_dbu(volts):.2f} dBu",
        lambda volts: f"{volts_to_dbu(volts) - 2.218:.2f}dBV",
    ],
    ids=["mV", "V", "dBu", "dBV"],
)
def test_a_person_types_what_the_meter_says(answer, ampscope, card, typed):
    peaks = 10 ** (np.array([-40.0, -20.0, -12.0]) / 20)
    typed(*map(answer, 4.0 * peaks / np.sqrt(2)))
    outcome = ampscope("calibrate", "send", "bench.toml", "-y", "--seconds", "3", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["dbu_at_full_scale"] == pytest.approx(ONE_VOLT_PEAK_DBU + 12.04, abs=0.02)
    assert found["basis"] == "meter"


def test_an_answer_that_is_no_voltage_is_asked_for_again_and_none_plays_again(
    ampscope, card, typed
):
    typed("28", "-40dBFS", "", "28.28mV", "282.8mV", "0.7104V")
    outcome = ampscope("calibrate", "send", "bench.toml", "-y", "--seconds", "3")
    assert outcome.code == 0, outcome.err
    assert len(card.volts_rms) == 4  # the first tone twice
    assert "a meter says 48.9mV" in outcome.err
    assert "a meter reads a voltage" in outcome.err
    assert "+11.25 dBu" in outcome.out


def test_readings_that_do_not_agree_calibrate_nothing(ampscope, card, typed):
    typed("28.28mV", "282.8mV", "0.65V")
    outcome = ampscope("calibrate", "send", "bench.toml", "-y", "--seconds", "3")
    assert outcome.code == 1
    assert "at -12 dBFS is -0.77 dB off" in outcome.err
    assert "the send saturates" in outcome.err
    assert stored_levels(load_rig("bench.toml")) is None


def test_without_anybody_to_read_the_meter_nothing_is_played(ampscope, card):
    assert ampscope("calibrate", "send", "bench.toml", "-y", "--no-input").code == 2
    assert ampscope("calibrate", "send", "bench.toml").code == 5
    assert card.volts_rms == []


def test_a_data_sheet_s_level_makes_no_sound(ampscope, card):
    outcome = ampscope("calibrate", "send", "bench.toml", "--nominal", "16dBu")
    assert outcome.code == 0
    assert "a data sheet (nominal), ±1 dB" in outcome.out
    outcome = ampscope("calibrate", "return", "bench.toml", "--nominal", "4.9V")
    assert outcome.code == 0
    assert "+16.02 dBu" in outcome.out
    assert card.volts_rms == []
    assert ampscope("calibrate", "send", "bench.toml", "--nominal", "-3dBFS").code == 2


def test_a_return_without_a_calibrated_send_is_refused(ampscope):
    outcome = ampscope("calibrate", "return", "wire")
    assert outcome.code == 1
    assert "send of this interface is not calibrated" in outcome.complaint
    assert "a loopback alone gives only out + in: never a voltage" in outcome.complaint


def test_a_saturating_send_and_a_clipping_return_are_refused(ampscope):
    bent = wire_with("[interface.faults.send-saturates]", "strength = 10.0")
    outcome = ampscope("calibrate", "send", bent)
    assert outcome.code == 1
    assert "the send saturates" in outcome.complaint
    clipped = wire_with("[interface.faults.return-clipped]", "strength = -20.0")
    assert ampscope("calibrate", "send", clipped).code == 0
    outcome = ampscope("calibrate", "return", clipped)
    assert outcome.code == 3
    assert "cut off at -20.0 dBFS" in outcome.complaint
    assert stored_levels(load_rig(str(clipped))).return_ is None


def test_a_level_in_volts_is_played_at_the_peak_that_it_means(ampscope):
    ampscope("calibrate", "send", "wire")
    for level in ("-10dBu", "-12.218dBV", "0.24495V"):
        assert ampscope("capture", "wire", "--signal", "a440", "--level", level, "-y").code == 0
        record = CaptureFolder.existing(Path("captures/wire")).record()
        assert record.plan.peak_dbfs == pytest.approx(-10.0 - ONE_VOLT_PEAK_DBU, abs=0.02)
        assert record.levels.input_level_dbu == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.05)


def test_more_volts_than_the_send_can_give_make_no_sound(ampscope):
    ampscope("calibrate", "send", "wire")
    outcome = ampscope("capture", "wire", "--signal", "a440", "--level", "4dBu")
    assert outcome.code == 5
    assert "gives at most -0.8 dBu (0.707 V), 4.8 dB less" in outcome.complaint


def test_a_calibrated_loop_whose_volume_was_moved_is_told_of_at_its_next_take(ampscope):
    ampscope("calibrate", "send", "wire")
    ampscope("calibrate", "return", "wire")
    assert "warning" not in ampscope("capture", "wire", "--signal", "check", "-o", "a").err
    moved = wire_with("[interface.faults.volume-changed]", "strength = -0.4")
    outcome = ampscope("capture", moved, "--signal", "check", "-o", "b")
    assert "is -0.40 dB off what is known of it" in " ".join(outcome.err.split())


def test_a_ceiling_in_dbu_holds_as_soon_as_the_send_is_calibrated(ampscope, card, typed):
    """2 dBu is 0.975 V: 9.25 dB below full scale of this card."""
    Path("bench.toml").write_text(HARDWARE.replace("[inter", "maximum_send_dbu = 2.0\n[inter"))
    refused = ampscope("capture", "bench.toml", "--signal", "a440", "-y")
    assert refused.code == 5
    assert "is not calibrated" in refused.complaint
    typed("28.28mV", "282.8mV", "0.7104V")
    assert ampscope("calibrate", "send", "bench.toml", "-y", "--seconds", "3").code == 0
    outcome = ampscope("calibrate", "return", "bench.toml", "-y")
    assert outcome.code == 0, outcome.err
    assert "peak -9.2 dBFS, 2.0 dBu (ceiling -9.24" in outcome.err
    assert max(card.volts_rms) == pytest.approx(0.975, abs=0.002)
    refused = ampscope("capture", "bench.toml", "--signal", "a440", "--level", "3dBu", "-y")
    assert refused.code == 5
    assert "peaks at 3.0 dBu, above the rig's ceiling of 2 dBu" in refused.complaint


def test_a_file_rig_has_no_interface_to_calibrate(ampscope):
    Path("pair.toml").write_text(
        'name = "p"\nmaximum_send_dbfs = 0\n[interface]\ndriver = "file"\n'
        'stimulus = "a.wav"\nresponse = "b.wav"\n'
    )
    for what in ("latency", "send", "return", "show"):
        assert ampscope("calibrate", what, "pair.toml").code == 2

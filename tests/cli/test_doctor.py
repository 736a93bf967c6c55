import json
import sys
from pathlib import Path

import pytest

from profiler.capture import loop
from profiler.definitions import shipped_folder
from profiler.model import rate
from profiler.rig.rig import load_rig


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Training is timed by a test of its own."""
    monkeypatch.setattr(rate, "measure_rate", lambda architecture: 50_000.0)


def rig_file(lines):
    """The shipped wire with lines of an interface added."""
    text = (shipped_folder("rigs") / "wire.toml").read_text()
    path = Path("mine.toml")
    path.write_text(text.replace("[chain]", f"{lines}\n\n[chain]"))
    return "./mine.toml"


def test_this_machine_passes(ampscope):
    outcome = ampscope("doctor")
    assert outcome.code == 0
    for name in ("Python", "PortAudio", "torch", "disk"):
        assert name in outcome.out
    assert "standard" in outcome.out
    assert "round trip" not in outcome.out


def test_without_portaudio_it_works_and_says_so(ampscope, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    outcome = ampscope("doctor", "--json")
    assert outcome.code == 0
    items = {item["name"]: item for item in json.loads(outcome.out)["machine"]["items"]}
    assert items["PortAudio"]["status"] == "warn"
    assert "not there" in items["PortAudio"]["found"]


def test_a_clean_wire_is_proven_and_its_fingerprint_kept(ampscope):
    outcome = ampscope("doctor", "wire", "--loop", "--no-input", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["schema"] == "ampscope.doctor/1"
    assert told["passed"] is True
    assert told["loop"]["findings"] == []
    fingerprint = told["loop"]["fingerprint"]
    assert fingerprint["delay_samples"] == pytest.approx(1234.567, abs=1e-3)
    assert fingerprint["noise_rms_dbfs"] == pytest.approx(-100.0, abs=0.1)
    kept = loop.stored(load_rig("wire"))
    assert kept.model_dump(mode="json") == fingerprint
    assert str(loop.fingerprint_path(load_rig("wire"))) in outcome.err

    outcome = ampscope("doctor", "wire")
    told = " ".join(outcome.out.split())
    assert kept.created_utc.strftime("fingerprint ok of %Y-%m-%d %H:%M UTC") in told


def test_a_fault_that_stops_exits_with_3_and_keeps_nothing(ampscope):
    rig = rig_file("[interface.faults.interface-limiter]\nstrength = 1.0")
    outcome = ampscope("doctor", rig, "--loop")
    assert outcome.code == 3
    assert "stop: interface-limiter: the loop loses 0.99 dB" in outcome.out
    assert "not kept" in outcome.err
    assert loop.stored(load_rig(rig)) is None


def test_a_fault_that_warns_is_told_and_passes(ampscope):
    rig = rig_file("[interface.faults.sixteen-bit]")
    outcome = ampscope("doctor", rig, "--loop")
    assert outcome.code == 0
    assert "warn: sixteen-bit" in outcome.out
    assert loop.stored(load_rig(rig)).word_bits == 16


def test_slips_at_rest_are_one_line_and_exit_3(ampscope):
    rig = rig_file("[interface.faults.lost-block]\nstrength = 64")
    outcome = ampscope("doctor", rig, "--loop")
    assert outcome.code == 3
    assert "64 samples were lost" in outcome.complaint


def test_a_loop_needs_a_rig_with_an_interface(ampscope):
    outcome = ampscope("doctor", "--loop")
    assert outcome.code == 2
    assert "--loop needs a RIG" in outcome.complaint
    Path("pair.toml").write_text(
        'name = "pair"\nmaximum_send_dbfs = 0\n[interface]\ndriver = "file"\n'
        'stimulus = "a.wav"\nresponse = "b.wav"\n'
    )
    outcome = ampscope("doctor", "./pair.toml", "--loop")
    assert outcome.code == 2
    assert "no interface to prove" in outcome.complaint
    assert ampscope("doctor", "./pair.toml").code == 0


def test_real_hardware_makes_no_sound_unasked(ampscope):
    Path("amp.toml").write_text(
        'name = "amp"\nmaximum_send_dbfs = -12\n[interface]\ndriver = "portaudio"\ndevice = "x"\n'
    )
    outcome = ampscope("doctor", "./amp.toml", "--loop", "--no-input")
    assert outcome.code == 5
    assert "no sound was made" in outcome.complaint
    assert "a cable from the send straight to the return" in outcome.err
    assert "peak -12.0 dBFS" in outcome.err

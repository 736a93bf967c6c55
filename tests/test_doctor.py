"""The doctor: what it says of this machine, and of the interface of a simulated rig."""

import shutil
import sys
import types

import numpy as np
import pytest

from profiler import doctor
from profiler.capture import loop
from profiler.capture.calibration import nominal_send, store_send
from profiler.errors import NotAligned, SafetyStop
from profiler.model import rate
from profiler.rig import portaudio
from profiler.rig.connect import connect
from profiler.rig.faults import Fault
from profiler.rig.interface import Block
from profiler.rig.rig import PortAudioInterface, load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import load_signal
from profiler.units import Level

LOOP_FAULTS = (
    ("send-saturates", None, "warn"),
    ("shared-mode-limiter", None, "warn"),
    ("interface-limiter", None, "stop"),
    ("system-resampling", None, "warn"),
    ("sixteen-bit", None, "warn"),
    ("enhancement", "agc", "stop"),
    ("enhancement", "noise-suppression", "stop"),
    ("enhancement", "band-limit", "stop"),
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))


@pytest.fixture
def at_once(monkeypatch):
    """Training is timed by a test of its own."""
    monkeypatch.setattr(rate, "measure_rate", lambda architecture: 50_000.0)


@pytest.fixture
def idle(monkeypatch):
    """The short openings after the loop are tested on their own."""
    monkeypatch.setattr(doctor, "LATENCY_TAKES", 0)


def wire(ceiling_dbfs=0.0, **interface):
    rig = load_rig("wire")
    changed = rig.interface.model_copy(update=interface)
    return rig.model_copy(update={"interface": changed, "maximum_send_dbfs": ceiling_dbfs})


def items_of(report):
    return {item.name: item for item in report.items}


def examined(rig):
    return doctor.examine_loop(rig, connect(rig))


def test_this_machine_is_fit(at_once):
    report = doctor.examine_machine(load_rig("wire"))
    items = items_of(report)
    assert not [item for item in report.items if item.status == "fail"]
    assert items["Python"].found == ".".join(map(str, sys.version_info[:3]))
    assert items["PortAudio"].status == "ok"
    assert "V19" in items["PortAudio"].found
    assert items["ceiling"].found == "0 dBFS"
    assert items["fingerprint"].status == "warn"
    assert "ampscope doctor wire --loop" in items["fingerprint"].reason


def test_the_time_of_a_training_is_its_steps_over_the_rate(at_once):
    forecasts = {f.architecture: f for f in doctor.examine_machine().training}
    assert list(forecasts) == ["nano", "feather", "lite", "standard"]
    standard = forecasts["standard"]
    assert standard.minutes == pytest.approx(432 * 16_384 / 50_000 / 60)
    assert standard.steps_in_default_time == int(90 * 50_000 / 16_384)


def test_a_slow_machine_is_told_what_to_train(monkeypatch):
    monkeypatch.setattr(rate, "measure_rate", lambda architecture: 5_000.0)
    item = items_of(doctor.examine_machine())["torch"]
    assert item.status == "warn"
    assert "24 minutes" in item.reason
    assert "feather" in item.reason


def test_without_torch_nothing_can_be_trained_and_all_else_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "profiler.model.rate", None)  # as if its import failed
    report = doctor.examine_machine()
    assert items_of(report)["torch"].status == "fail"
    assert report.training == ()
    assert items_of(report)["disk"].status == "ok"
    assert not doctor.report(report).passed


def test_without_portaudio_the_machine_is_still_fit_for_the_rest(monkeypatch, at_once):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    report = doctor.examine_machine()
    item = items_of(report)["PortAudio"]
    assert item.status == "warn"
    assert "simulated rigs" in item.reason
    assert "devices" not in items_of(report)
    assert doctor.report(report).passed


def test_devices_are_told_with_their_host_apis(monkeypatch, at_once):
    device = portaudio.Device("Scarlett 2i2", "ALSA", 2, 2, 48_000)
    monkeypatch.setattr(portaudio, "devices", lambda: [device])
    item = items_of(doctor.examine_machine())["devices"]
    assert (item.status, item.found) == ("ok", "Scarlett 2i2 (ALSA)")


@pytest.mark.parametrize(("free", "status"), [(9e9, "ok"), (1e9, "warn"), (1e8, "fail")])
def test_the_disk_is_judged_by_what_a_capture_needs(free, status, monkeypatch, at_once, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    item = items_of(doctor.examine_machine(folder=tmp_path))["disk"]
    assert item.status == status
    assert str(tmp_path) in item.found


def test_a_data_folder_that_takes_no_files_is_a_failure(monkeypatch, at_once, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "file" / "home"))
    item = items_of(doctor.examine_machine())["data folder"]
    assert item.status == "fail"
    assert "AMPSCOPE_HOME" in item.reason


def test_full_scale_on_real_hardware_is_a_doubt(at_once):
    hardware = PortAudioInterface(driver="portaudio", device="x")
    rig = load_rig("wire").model_copy(update={"interface": hardware})
    assert items_of(doctor.examine_machine(rig))["ceiling"].status == "warn"
    low = rig.model_copy(update={"maximum_send_dbfs": -12.0})
    assert items_of(doctor.examine_machine(low))["ceiling"].status == "ok"


def test_a_known_fingerprint_is_told_and_an_unusable_one_too(at_once, idle):
    rig = wire()
    path = loop.store(rig, examined(rig).fingerprint)
    assert items_of(doctor.examine_machine(rig))["fingerprint"].status == "ok"
    path.write_text("{}")
    item = items_of(doctor.examine_machine(rig))["fingerprint"]
    assert (item.status, item.found) == ("warn", "unusable")
    assert examined(rig).findings == ()  # nothing to compare with, and it is replaced


def test_a_clean_wire_passes_with_its_numbers():
    heard = []
    rig = wire(gain_db=-3.0, round_trip_samples=500.25)
    found = doctor.examine_loop(rig, connect(rig), on_progress=lambda *told: heard.append(told))
    fingerprint = found.fingerprint
    assert found.findings == ()
    assert fingerprint.gain_db == pytest.approx(-3.0, abs=0.001)
    assert len(fingerprint.round_trips_samples) == 1 + doctor.LATENCY_TAKES
    np.testing.assert_allclose(fingerprint.round_trips_samples, 500.25, atol=1e-3)
    assert {name: item.status for name, item in items_of(found).items()} == {
        "latency spread": "ok",
        "clock": "ok",
        "polarity": "ok",
        "under load": "ok",
    }
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert "the latency, machine busy" in {detail for _, detail in heard}


@pytest.mark.parametrize(("name", "variant", "severity"), LOOP_FAULTS)
def test_a_fault_from_a_rig_file_is_named(name, variant, severity, idle):
    found = examined(wire(faults={name: Fault(variant=variant)}))
    assert [(finding.name, finding.severity) for finding in found.findings] == [(name, severity)]
    machine = doctor.MachineReport(items=(), training=())
    assert doctor.report(machine, found).passed == (severity != "stop")


def test_two_clocks_are_a_failure_and_an_inverted_cable_a_doubt(idle):
    items = items_of(examined(wire(faults={"clock-drift": Fault(strength=0.5)}, polarity=-1)))
    assert items["clock"].status == "fail"
    assert "+0.50 ppm" in items["clock"].found
    assert items["polarity"].status == "warn"


def test_one_clock_is_believed_in_noise(idle):
    assert items_of(examined(wire(noise_rms_dbfs=-60.0)))["clock"].status == "ok"


def test_a_changed_volume_is_told_against_the_fingerprint_before(idle):
    rig = wire()
    loop.store(rig, examined(rig).fingerprint)
    found = examined(wire(faults={"volume-changed": Fault()}))
    assert [finding.name for finding in found.findings] == ["volume-changed"]


def test_a_loopback_channel_gets_a_gain_of_its_own(idle):
    found = examined(wire(gain_db=-6.0, loopback_channel=2))
    assert found.fingerprint.gain_db == pytest.approx(-6.0, abs=0.001)
    assert found.fingerprint.loopback_gain_db == pytest.approx(0.0, abs=0.001)


def test_a_di_channel_is_not_taken_for_a_loopback(idle):
    found = examined(wire(gain_db=-6.0, di_channel=2))
    assert found.fingerprint.loopback_gain_db is None


def test_the_loop_is_as_loud_as_the_ceiling_allows(idle):
    found = examined(wire(ceiling_dbfs=-20.0))
    assert found.fingerprint.highest_dbfs == pytest.approx(-20.0)
    assert found.fingerprint.not_reached
    announced = doctor.announce_loop(wire(ceiling_dbfs=-20.0))
    assert announced.peak_dbfs == pytest.approx(-20.0)


def test_all_that_will_sound_is_announced():
    seconds = doctor.announce_loop(wire()).seconds
    latency = load_signal("latency").plan(48_000).seconds
    assert seconds == pytest.approx(doctor.loop_plan(wire()).seconds + 3 * latency)


def test_the_amp_of_a_simulated_rig_is_bypassed_by_the_cable():
    assert doctor.cabled(load_rig("tweed")).chain.circuit == "wire"
    hardware = PortAudioInterface(driver="portaudio", device="x")
    rig = load_rig("tweed").model_copy(update={"interface": hardware})
    assert doctor.cabled(rig) == rig


def test_a_cable_has_no_speaker_to_protect_but_keeps_its_ceiling():
    protected = wire(ceiling_dbfs=-6.0).model_copy(
        update={
            "lowest_sweep_hz": 80.0,
            "maximum_full_power_seconds": 0.1,
            "maximum_tone_duty": 0.01,
        }
    )
    with pytest.raises(SafetyStop):
        doctor.announce_loop(protected)
    assert doctor.announce_loop(doctor.cabled(protected)).peak_dbfs == pytest.approx(-6.0)


def test_a_ceiling_in_volts_holds_for_the_loop():
    rig = wire().model_copy(update={"maximum_send_dbu": 4.0})
    with pytest.raises(SafetyStop, match="not calibrated"):
        doctor.announce_loop(rig)
    store_send(rig, nominal_send(rig, Level(10.0, "dBu")))
    assert doctor.announce_loop(rig).peak_dbfs == pytest.approx(-6.0)
    assert doctor.loop_plan(rig).peak_dbfs == pytest.approx(-6.0)


class Unsteady(Simulated):
    """An interface whose openings differ: later by whole samples, or with samples lost."""

    def __init__(self, rig, later=(), lost=()):
        super().__init__(rig)
        self.opening, self.later, self.lost = 0, dict(later), set(lost)

    def play_record(self, stimulus, frames, on_block, watch=None):
        blocks = []
        report = super().play_record(stimulus, frames, blocks.append, watch)
        samples = np.concatenate([block.samples for block in blocks])
        samples = np.roll(samples, self.later.get(self.opening, 0), axis=0)
        if self.opening in self.lost:
            middle = frames // 2
            samples = np.concatenate([samples[:middle], samples[middle + 64 :], samples[:64]])
        self.opening += 1
        on_block(Block(samples, 0))
        return report


def test_a_latency_that_differs_between_openings_is_a_doubt():
    rig = wire()
    found = doctor.examine_loop(rig, Unsteady(rig, later={2: 3}))
    item = items_of(found)["latency spread"]
    assert item.status == "warn"
    assert found.fingerprint.latency_spread_samples == pytest.approx(3.0, abs=1e-3)
    assert "loopback channel" in item.reason


def test_samples_lost_under_load_are_a_failure():
    rig = wire()
    found = doctor.examine_loop(rig, Unsteady(rig, lost={doctor.LATENCY_TAKES}))
    item = items_of(found)["under load"]
    assert item.status == "fail"
    assert "64" in item.reason
    machine = doctor.MachineReport(items=(), training=())
    assert not doctor.report(machine, found).passed


def test_samples_lost_at_rest_end_the_examination():
    rig = wire()
    with pytest.raises(NotAligned, match="64"):
        doctor.examine_loop(rig, Unsteady(rig, lost={0}))
    with pytest.raises(NotAligned, match="64"):
        doctor.examine_loop(rig, Unsteady(rig, lost={1}))


def test_every_core_is_busy_and_then_free_again():
    with doctor.busy_machine() as processes:
        assert len(processes) >= 1
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)

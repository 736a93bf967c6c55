import pytest

from profiler.capture.calibration import (
    measure_return,
    nominal_return,
    nominal_send,
    store_return,
    store_send,
)
from profiler.capture.recheck import recheck
from profiler.capture.take import take
from profiler.rig.connect import connect
from profiler.rig.faults import Fault
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import Reference, SignalDefinition, load_signal
from profiler.units import Level

RATE = 48_000
TONE = Reference(name="reference", kind="reference", use="analyse", level_dbfs=-12.0)
SHORT = SignalDefinition(name="short", segments=(TONE,)).plan(RATE)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty data folder for every test."""
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))


@pytest.fixture
def check(tmp_path):
    """Take a rig, through an interface that may have changed behind its back, and recheck it."""
    takes = []

    def take_and_check(rig, plan=SHORT, **behind_its_back):
        real = rig.interface.model_copy(update=behind_its_back)
        interface = connect(rig.model_copy(update={"interface": real}))
        takes.append(take(rig, plan, tmp_path / f"take {len(takes)}", interface))
        return recheck(takes[-1], rig.interface.round_trip_samples)

    take_and_check.takes = takes
    return take_and_check


def looped(rig_name, channel=2):
    rig = load_rig(rig_name)
    interface = rig.interface.model_copy(update={"loopback_channel": channel})
    return rig.model_copy(update={"interface": interface})


def calibrated_wire():
    """A cable that loses 3 dB, and a send that is known from its data sheet."""
    rig = load_rig("wire")
    quieter = rig.interface.model_copy(update={"gain_db": -3.0})
    rig = rig.model_copy(update={"interface": quieter})
    send = nominal_send(rig, Level(10.0, "dBu"))
    store_return(rig, measure_return(rig, connect(rig), send))
    return rig


def test_two_data_sheets_do_not_hold_a_loop_to_anything(check):
    """Each is good to a decibel."""
    rig = load_rig("wire")
    store_send(rig, nominal_send(rig, Level(10.0, "dBu")))
    store_return(rig, nominal_return(rig, Level(13.0, "dBu")))
    assert check(rig).loop is None


def test_the_first_take_of_a_rig_has_nothing_to_agree_with(check):
    found = check(load_rig("drive"))
    assert (found.device, found.loop, found.since) == (None, None, None)
    assert found.holds


@pytest.mark.parametrize("change_db", [0.0, -1.5])
def test_through_the_device_a_change_is_told_and_proves_nothing(change_db, check):
    rig = load_rig("drive")
    check(rig)
    found = check(rig, gain_db=change_db)
    assert found.device.deviation_db == pytest.approx(change_db, abs=0.01)
    assert found.since == check.takes[0].record().created_utc
    assert found.holds


@pytest.mark.parametrize(("gain_db", "holds"), [(-3.0, True), (-3.15, True), (-3.25, False)])
def test_a_calibrated_loop_is_held_to_its_calibration_from_the_first_take_on(gain_db, holds, check):
    found = check(calibrated_wire(), gain_db=gain_db)
    assert found.loop.deviation_db == pytest.approx(gain_db + 3.0, abs=0.01)
    assert found.holds == holds


@pytest.mark.parametrize(("volume_db", "holds"), [(None, True), (-0.4, False)])
def test_a_loopback_channel_is_held_to_the_last_take(volume_db, holds, check):
    rig = looped("drive")
    assert check(rig).loop is None
    faults = {} if volume_db is None else {"volume-changed": Fault(strength=volume_db)}
    found = check(rig, faults=faults)
    assert found.loop.deviation_db == pytest.approx(volume_db or 0.0, abs=0.01)
    assert found.holds == holds
    if holds:
        assert found.warning is None
    else:
        assert "is -0.40 dB off what is known" in found.warning


def test_a_take_is_not_compared_with_itself_nor_with_a_later_one(check):
    rig = load_rig("wire")
    check(rig)
    check(rig, gain_db=-1.0)
    for taken in check.takes[::-1]:
        assert recheck(taken, rig.interface.round_trip_samples).device is None


@pytest.mark.parametrize("change", ["knob", "level"])
def test_a_rig_that_is_set_or_driven_otherwise_is_another(change, check):
    rig = load_rig("drive")
    check(rig)
    if change == "knob":
        chain = rig.chain.model_copy(update={"controls": {"drive": 3.0}})
        found = check(rig.model_copy(update={"chain": chain}))
    else:
        found = check(rig, SHORT.model_copy(update={"gain_db": -6.0}))
    assert found.device is None


def test_a_stimulus_without_the_tone_is_compared_with_nothing(check):
    rig = calibrated_wire()
    found = check(rig, load_signal("latency").plan(RATE), gain_db=-10.0)
    assert (found.device, found.loop) == (None, None)
    assert found.holds

import numpy as np
import pytest

from profiler.capture.calibration.returned import measure_return
from profiler.capture.calibration.send import measure_send, nominal_send
from profiler.capture.calibration.simulated import looped, simulated_meter
from profiler.errors import CaptureError, Clipping
from profiler.rig.connect import connect
from profiler.rig.faults import Fault
from profiler.rig.rig import PortAudioInterface, load_rig
from profiler.units import Level

ONE_VOLT_PEAK_DBU = 20 * np.log10(1 / np.sqrt(2) / 0.7745966692)
SECONDS = 2.0


def wire(**interface):
    rig = load_rig("wire")
    return rig.model_copy(update={"interface": rig.interface.model_copy(update=interface)})


def faulty(name, strength, **interface):
    return wire(faults={name: Fault(strength=strength)}, **interface)


def calibrated_send(rig):
    return measure_send(rig, connect(rig), simulated_meter(rig), seconds=SECONDS)


@pytest.mark.parametrize("name", ["wire", "drive"])
def test_on_a_simulated_rig_a_sample_of_1_is_1_volt(name):
    rig = load_rig(name)
    found = calibrated_send(rig).dbu_at_full_scale
    assert found == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.01)


def test_a_real_rig_has_no_simulated_meter_and_no_simulated_cable(rig):
    real = PortAudioInterface(driver="portaudio", device="Scarlett")
    rig = rig.model_copy(update={"interface": real})
    with pytest.raises(ValueError, match="not simulated"):
        simulated_meter(rig)
    assert looped(rig) is rig


@pytest.mark.parametrize("seed", range(6))
def test_send_and_return_of_any_rig_are_found_within_a_fiftieth_of_a_decibel(seed):
    random = np.random.default_rng(seed)
    gain_db = random.uniform(-24.0, 11.0)
    rig = wire(
        gain_db=gain_db,
        noise_rms_dbfs=random.uniform(-110.0, -70.0),
        round_trip_samples=random.uniform(32.0, 10_000.0),
        sample_rate=int(random.choice([44_100, 48_000, 96_000])),
        polarity=int(random.choice([1, -1])),
        low_cut_hz=float(random.choice([0.0, 2.0])),
        seed=seed,
    )
    send = calibrated_send(rig)
    assert send.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.005)
    found = measure_return(rig, connect(rig), send)
    assert found.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU - gain_db, abs=0.02)


def test_a_volume_that_was_turned_down_is_in_the_volts_of_the_send():
    found = calibrated_send(faulty("volume-changed", -3.0))
    assert found.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU - 3.0, abs=0.01)


@pytest.mark.parametrize("percent", [5.0, 10.0, 20.0])
def test_a_send_that_saturates_is_refused(percent):
    with pytest.raises(CaptureError, match=r"at -12 dBFS is -.* the send saturates"):
        calibrated_send(faulty("send-saturates", percent))


def test_a_send_that_saturates_at_full_scale_only_is_calibrated_below_and_its_end_is_found():
    """0.5 % at full scale is 0.01 dB at -12 dBFS: the volts are right, the loop's end is told."""
    rig = faulty("send-saturates", 0.5)
    send = calibrated_send(rig)
    assert send.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.02)
    found = measure_return(rig, connect(rig), send)
    assert found.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.03)
    assert found.clip_dbfs > -2.5


@pytest.mark.parametrize("variant", ["both", "positive", "negative"])
@pytest.mark.parametrize("rail_dbfs", [-12.5, -14.0, -30.0])
def test_a_return_that_clips_at_the_levels_needed_is_refused(rail_dbfs, variant):
    fault = {"return-clipped": Fault(strength=rail_dbfs, variant=variant)}
    rig = wire(faults=fault)
    with pytest.raises(Clipping, match=r"cut off at .* turn the input gain down by"):
        measure_return(rig, connect(rig), calibrated_send(rig))


@pytest.mark.parametrize("rail_dbfs", [-11.0, -6.0, -3.0])
def test_a_return_that_clips_above_them_is_calibrated_from_what_is_whole(rail_dbfs):
    rig = faulty("return-clipped", rail_dbfs)
    found = measure_return(rig, connect(rig), calibrated_send(rig))
    assert found.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.05)
    assert found.clip_dbfs == pytest.approx(rail_dbfs, abs=0.05)


def test_a_return_full_of_hum_is_calibrated_all_the_same():
    rig = faulty("hum", -50.0)
    send = nominal_send(rig, Level(ONE_VOLT_PEAK_DBU, "dBu"))
    found = measure_return(rig, connect(rig), send)
    assert found.dbu_at_full_scale == pytest.approx(ONE_VOLT_PEAK_DBU, abs=0.05)

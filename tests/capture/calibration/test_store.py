import datetime

import pytest

from profiler.capture.calibration import (
    LatencyCalibration,
    conditions,
    nominal_return,
    nominal_send,
    recall,
    recall_return,
    recall_send,
    send_dbu_at_full_scale,
    store,
    store_return,
    store_send,
    stored,
    stored_delay,
    stored_levels,
    stored_return,
    stored_returns,
    stored_send,
)
from profiler.errors import CaptureError
from profiler.rig.interface import StreamReport
from profiler.rig.rig import FileInterface, PortAudioInterface, Rig
from profiler.units import Level


def real(**interface):
    settings = {"driver": "portaudio", "device": "Scarlett", "host_api": "ALSA"} | interface
    return Rig(name="r", maximum_send_dbfs=-3.0, interface=PortAudioInterface(**settings))


def latency(rig, samples=500.0, **settings):
    return LatencyCalibration(
        conditions=conditions(rig),
        round_trip_samples=samples,
        spread_samples=0.0,
        repeats=3,
        polarity=1,
        created_utc=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        **settings,
    )


def test_a_latency_is_found_again_under_its_conditions():
    rig = real(block_size=256)
    calibration = latency(rig, drift_ppm=0.01, block_sizes=(256,))
    store(rig, calibration)
    assert stored(rig) == recall(rig) == calibration
    assert stored_delay(rig) == 500.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"block_size": 512}, "block_size was 256 and is 512"),
        ({"sample_rate": 96_000}, "sample_rate was 48000 and is 96000"),
        ({"device": "Apollo"}, "device was Scarlett and is Apollo"),
        ({"host_api": "JACK"}, "host_api was ALSA and is JACK"),
        ({"return_device": "USB mic"}, "return_device was not given and is USB mic"),
    ],
)
def test_a_latency_under_other_conditions_is_refused_and_which_is_said(change, said):
    rig = real(block_size=256)
    store(rig, latency(rig))
    other = real(**{"block_size": 256} | change)
    assert stored(other) is None
    assert stored_delay(other) is None
    with pytest.raises(CaptureError, match=f"2026-01-02 does not hold here: {said}: measure it"):
        recall(other)


def test_of_several_latencies_the_nearest_is_named():
    for settings in ({"block_size": 256, "device": "Apollo"}, {"block_size": 64}):
        store(real(**settings), latency(real(**settings)))
    with pytest.raises(CaptureError, match="not hold here: block_size was 64 and is 128: measure"):
        recall(real(block_size=128))


def test_what_was_never_measured_is_unknown():
    rig = real()
    assert stored(rig) is None
    assert stored_send(rig) is None
    assert stored_return(rig) is None
    assert stored_levels(rig) is None
    assert send_dbu_at_full_scale(rig) is None
    for asked, command in ((recall, "latency"), (recall_send, "send"), (recall_return, "return")):
        with pytest.raises(CaptureError, match=f"not calibrated.*ampscope calibrate {command}"):
            asked(rig)


def test_a_latency_measured_again_takes_the_place_of_the_old_one():
    rig = real()
    store(rig, latency(rig, 500.0))
    store(rig, latency(rig, 640.0))
    assert stored_delay(rig) == 640.0


def test_where_the_driver_chose_other_blocks_a_latency_does_not_hold():
    rig = real(block_size=0)
    store(rig, latency(rig, block_sizes=(256,)))
    same, other = (
        StreamReport("portaudio", "card", 48_000, 1000, 4, (size,)) for size in (256, 1024)
    )
    assert stored_delay(rig) == 500.0
    assert stored_delay(rig, same) == 500.0
    assert stored_delay(rig, other) is None


def test_the_level_of_a_send_holds_at_every_rate_and_block_size_but_for_its_channel():
    rig = real()
    store_send(rig, nominal_send(rig, Level(16.0, "dBu")))
    assert send_dbu_at_full_scale(real(sample_rate=96_000, block_size=64)) == 16.0
    assert send_dbu_at_full_scale(real(send_channel=2)) is None
    with pytest.raises(CaptureError, match="send_channel was 1 and is 2"):
        recall_send(real(send_channel=2))


def test_the_level_of_a_return_holds_for_one_position_of_its_gain_knob():
    for position, level in ((None, 10.0), ("noon", 4.0), ("full", -20.0)):
        rig = real(gain_position=position)
        store_return(rig, nominal_return(rig, Level(level, "dBu")))
    assert stored_return(real()).dbu_at_full_scale == 10.0
    assert stored_return(real(gain_position="full")).dbu_at_full_scale == -20.0
    assert stored_return(real(), "noon").dbu_at_full_scale == 4.0
    assert {found.gain_position for found in stored_returns(real())} == {None, "noon", "full"}
    assert stored_returns(real(return_channel=2)) == ()
    with pytest.raises(CaptureError, match=r"gain_position was .* and is 9 o'clock"):
        recall_return(real(gain_position="9 o'clock"))


def test_the_levels_of_a_rig_are_what_is_known_of_them():
    rig = real(gain_position="noon")
    store_return(rig, nominal_return(rig, Level(4.0, "dBu")))
    assert stored_levels(rig).send is None
    assert stored_levels(rig).output_level_dbu == 4.0
    assert stored_levels(rig).loop_gain_db is None
    store_send(rig, nominal_send(rig, Level(16.0, "dBu")))
    assert stored_levels(rig).input_level_dbu == 16.0
    assert stored_levels(rig).loop_gain_db is None  # two data sheets are each a decibel off


def test_a_pair_of_files_has_no_interface_and_knows_nothing():
    interface = FileInterface(driver="file", stimulus="a.wav", response="b.wav")
    rig = Rig(name="f", maximum_send_dbfs=0.0, interface=interface)
    assert stored_delay(rig) is None
    assert stored_levels(rig) is None


def test_a_damaged_calibration_of_other_conditions_is_not_in_the_way():
    rig = real(block_size=256)
    path = store(rig, latency(rig))
    path.with_name("latency-0000.json").write_text("{")
    with pytest.raises(CaptureError, match="block_size was 256 and is 64"):
        recall(real(block_size=64))

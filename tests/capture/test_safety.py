"""What is refused before any sound, and what is said of the rest."""

import dataclasses

import numpy as np
import pytest

from profiler.capture.safety import (
    FULL_POWER_DB,
    LARGEST_JUMP_DB,
    announce,
    full_power_seconds,
    largest_jump,
    tone_duty,
)
from profiler.definitions import available
from profiler.errors import SafetyStop
from profiler.rig.rig import Rig, load_rig
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render
from profiler.units import db_to_amplitude

RATE = 48_000
SIGNALS = sorted(available("signals"))
RIGS = sorted(available("rigs"))


def rig(driver="portaudio", **ceilings):
    interface = {"driver": driver} | ({"device": "Scarlett"} if driver == "portaudio" else {})
    return Rig.model_validate(
        {"name": "mine", "maximum_send_dbfs": 0.0, "interface": interface} | ceilings
    )


def plan_of(*segments, gain_db=0.0):
    named = [{"name": str(i), "use": "analyse"} | segment for i, segment in enumerate(segments)]
    definition = SignalDefinition.model_validate({"name": "mine", "segments": named})
    return definition.plan(RATE, gain_db=gain_db)


def tone(seconds=1.0, level_dbfs=-20.0, **more):
    return {"kind": "sine", "seconds": seconds, "level_dbfs": level_dbfs} | more


def silence(seconds):
    return {"kind": "silence", "seconds": seconds}


# -- every shipped signal may be played -------------------------------------------------


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("name", RIGS)
def test_every_shipped_signal_plays_on_every_shipped_rig(signal, name):
    announced = announce(load_rig(name), load_signal(signal).plan(RATE).bracketed())
    assert not announced.audible


@pytest.mark.parametrize("ceiling_dbfs", [0.0, -12.0])
@pytest.mark.parametrize("signal", SIGNALS)
def test_every_shipped_signal_plays_on_real_hardware_at_its_ceiling(signal, ceiling_dbfs):
    plan = load_signal(signal).plan(RATE).bracketed()
    plan = plan.model_copy(update={"gain_db": ceiling_dbfs - plan.peak_dbfs})
    assert announce(rig(maximum_send_dbfs=ceiling_dbfs), plan).audible


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_shipped_signal_plays_quiet_things_first(signal):
    assert largest_jump(load_signal(signal).plan(RATE).bracketed()) is None


@pytest.mark.parametrize("signal", ["check", "levels", "a440", "sweep"])
def test_no_more_sound_is_at_full_power_than_the_plan_says(signal):
    plan = load_signal(signal).plan(RATE).bracketed()
    stimulus = np.abs(render(plan))[: len(render(plan)) // 480 * 480].reshape(-1, 480)
    ceiling_dbfs = plan.peak_dbfs
    loud = np.max(stimulus, axis=1) > db_to_amplitude(ceiling_dbfs + FULL_POWER_DB)
    assert 0.01 * np.count_nonzero(loud) <= full_power_seconds(plan, ceiling_dbfs) + 0.02


# -- each ceiling, by its key -----------------------------------------------------------


@pytest.mark.parametrize(
    ("ceilings", "segments", "message"),
    [
        (
            {"maximum_send_dbfs": -12.0},
            [tone(level_dbfs=-11.9)],
            r"peaks at -11\.9 dBFS, above.*-12 dBFS: play it with --level -12dBFS.*_send_dbfs",
        ),
        (
            {"maximum_full_power_seconds": 2.0},
            [{"kind": "guitar", "seconds": 2.1, "level_dbfs": -5.9}],
            r"2 s at full power \(within 6 dB of the ceiling\).*maximum_full_power_seconds",
        ),
        (
            {"maximum_tone_duty": 0.5},
            [tone(1.1, level_dbfs=-11.9), silence(1.0)],
            r"loud tones .* for 52 % of its time, more than 50 %.*maximum_tone_duty",
        ),
        (
            {"lowest_sweep_hz": 70.0},
            [{"kind": "sweep", "seconds": 5.0, "start_hz": 69.0, "level_dbfs": -40.0}],
            r"down to 69 Hz in 0, below the rig's 70 Hz.*lowest_sweep_hz",
        ),
        ({}, [tone(frequency=19.9)], "below the rig's 20 Hz"),
        ({}, [{"kind": "noise", "seconds": 181.0, "level_dbfs": 0.0}], "more than 180 s"),
        ({}, [tone(10.0, level_dbfs=0.0), silence(4.0)], "71 % of its time"),
    ],
)
def test_a_plan_above_a_ceiling_is_refused_by_its_key(ceilings, segments, message):
    with pytest.raises(SafetyStop, match=message) as refused:
        announce(rig(**ceilings), plan_of(*segments))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ceilings", "segments"),
    [
        ({"maximum_send_dbfs": -12.0}, [tone(level_dbfs=-12.0), silence(1.0)]),
        ({"maximum_full_power_seconds": 2.0}, [{"kind": "guitar", "seconds": 2.0}]),
        ({"maximum_full_power_seconds": 2.0}, [tone(9.0, level_dbfs=-6.0), silence(9.0)]),
        ({"maximum_tone_duty": 0.5}, [tone(1.0, level_dbfs=-11.9), silence(1.0)]),
        ({"maximum_tone_duty": 0.5}, [tone(2.0, level_dbfs=-12.0), silence(1.0)]),
        ({"maximum_tone_duty": 0.1}, [{"kind": "guitar", "seconds": 2.0}]),
        ({"lowest_sweep_hz": 70.0}, [tone(frequency=70.0)]),
    ],
)
def test_a_plan_at_a_ceiling_is_played(ceilings, segments):
    announce(rig(**ceilings), plan_of(*segments))


def test_limits_of_time_are_taken_from_the_ceiling_and_not_from_full_scale():
    loud = plan_of(tone(5.0, level_dbfs=-20.0), silence(1.0))
    announce(rig(), loud)
    with pytest.raises(SafetyStop, match="maximum_tone_duty"):
        announce(rig(maximum_send_dbfs=-20.0), loud)


def test_a_simulation_does_not_get_hot_unless_its_rig_says_so():
    hour = plan_of({"kind": "noise", "seconds": 3600.0}, tone(3600.0, frequency=5.0, level_dbfs=0))
    announce(rig("simulated"), hour)
    with pytest.raises(SafetyStop, match="maximum_full_power_seconds"):
        announce(rig("simulated", maximum_full_power_seconds=3599.0), hour)


# -- volts ------------------------------------------------------------------------------


def test_a_ceiling_in_dbu_needs_a_calibrated_send():
    with pytest.raises(SafetyStop, match=r"not calibrated: run ampscope calibrate send mine, or"):
        announce(rig(maximum_send_dbu=4.0), plan_of(tone()))


def test_a_ceiling_in_dbu_is_held_and_its_level_in_dbfs_named():
    limited = rig(maximum_send_dbu=4.0)
    quiet, loud = (plan_of(tone(level_dbfs=at), silence(1.0)) for at in (-9.0, -8.9))
    announced = announce(limited, quiet, full_scale_dbu=13.0)
    assert announced.peak_dbu == pytest.approx(4.0)
    assert announced.ceiling_dbfs == pytest.approx(-9.0)
    with pytest.raises(SafetyStop, match=r"4\.1 dBu, above.*4 dBu: .*--level -9\.0dBFS.*_send_dbu"):
        announce(limited, loud, full_scale_dbu=13.0)


def test_of_two_ceilings_the_lower_holds():
    both = rig(maximum_send_dbu=4.0, maximum_send_dbfs=-12.0)
    with pytest.raises(SafetyStop, match="maximum_send_dbfs"):
        announce(both, plan_of(tone(level_dbfs=-10.0)), full_scale_dbu=13.0)
    announced = announce(both, plan_of(tone(level_dbfs=-12.0), silence(1)), full_scale_dbu=13.0)
    assert announced.ceiling_dbfs == -12.0


# -- what is said -----------------------------------------------------------------------


def test_seconds_at_full_power_and_duty_follow_from_the_plan():
    plan = plan_of(
        {"kind": "staircase", "seconds": 4.0, "steps": 4, "lowest_dbfs": -15.0, "level_dbfs": 0.0},
        {"kind": "twin-tone", "seconds": 4.0, "steps": 4, "lowest_dbfs": -15.0, "level_dbfs": 0.0},
        {"kind": "burst", "before_seconds": 1.0, "tone_seconds": 2.0, "after_seconds": 1.0},
        {"kind": "guitar", "seconds": 3.0, "level_dbfs": -5.0},
        {"kind": "level-step", "loud_seconds": 0.7, "soft_dbfs": -20.0, "level_dbfs": -3.0},
        {"kind": "probe", "level_dbfs": -30.0},
        {"kind": "pump", "tone_seconds": 0.5, "level_dbfs": -3.0},
        {"kind": "marker", "level_dbfs": 0.0},
    )
    # steps at -15, -10, -5 and 0 dBFS, twice; the tones of burst and pump; the guitar; the loud of
    # the level step; the marker's two codes
    assert full_power_seconds(plan) == pytest.approx(2.0 + 2.0 + 2.0 + 0.5 + 3.0 + 0.7 + 0.4)
    assert tone_duty(plan) == pytest.approx((3.0 + 3.0 + 2.0 + 0.5 + 0.7) / plan.seconds)
    assert full_power_seconds(plan.model_copy(update={"gain_db": -6.0})) == 0.0


@pytest.mark.parametrize(("second", "obeys"), [(-30.0, True), (-29.5, False), (-60.0, True)])
def test_a_jump_of_more_than_12_db_is_told_with_its_segment(second, obeys):
    first = -30.0 - LARGEST_JUMP_DB
    plan = plan_of(tone(level_dbfs=first), tone(level_dbfs=second), silence(1.0))
    jump = largest_jump(plan)
    assert (jump is None) == obeys
    if jump is not None:
        assert (jump.segment, jump.rise_db) == ("1", pytest.approx(12.5))
        assert str(jump) in announce(rig(), plan).lines()


def test_a_staircase_leads_up_to_what_is_louder():
    stairs = {"kind": "staircase", "seconds": 1.0, "lowest_dbfs": -50.0, "level_dbfs": -5.0}
    assert largest_jump(plan_of(tone(level_dbfs=-50.0), stairs, tone(level_dbfs=0.0))) is None


def test_the_announcement_says_level_time_and_channels():
    standard = load_signal("standard").plan(RATE)
    announced = announce(load_rig("tweed"), standard)
    first, second = announced.lines()
    assert "standard through simulated tweed, output channel 1, input channel 1 and 2" in first
    assert second == (
        "peak -0.1 dBFS (ceiling 0 dBFS), 115 s, 83 s of them at full power, loud tones 1 % of the "
        "time"
    )
    calibrated = dataclasses.replace(announced, peak_dbu=3.9)
    assert "peak -0.1 dBFS, 3.9 dBu (ceiling" in calibrated.lines()[1]


def test_a_file_rig_plays_nothing():
    files = Rig.model_validate(
        {
            "name": "pair",
            "maximum_send_dbfs": 0.0,
            "interface": {"driver": "file", "stimulus": "a.wav", "response": "b.wav"},
        }
    )
    with pytest.raises(ValueError, match="plays nothing"):
        announce(files, plan_of(tone()))

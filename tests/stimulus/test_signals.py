"""The definitions in signals/: what they promise, kept."""

import functools
import itertools

import numpy as np
import pytest

from profiler.definitions import shipped_folder
from profiler.stimulus.plan import SAMPLE_RATES, load_signal
from profiler.stimulus.synthesis import render

SHIPPED = (
    "a440",
    "check",
    "distortion",
    "dynamics",
    "latency",
    "levels",
    "loop",
    "measure",
    "quick",
    "settling",
    "standard",
    "sweep",
)
CAPTURES = ("standard", "quick")


@functools.cache
def plan_of(name, sample_rate=48_000):
    return load_signal(str(shipped_folder("signals") / f"{name}.toml")).plan(sample_rate)


@functools.cache
def stimulus_of(name):
    return render(plan_of(name))


def test_the_shipped_signals_are_these():
    assert sorted(path.stem for path in shipped_folder("signals").glob("*.toml")) == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_is_named_as_its_signal_and_says_what_it_is_for(name):
    assert plan_of(name).name == name
    assert plan_of(name).description


@pytest.mark.parametrize("name", SHIPPED)
def test_every_signal_lasts_equally_long_at_every_sample_rate(name):
    for sample_rate in SAMPLE_RATES:
        plan = plan_of(name, sample_rate)
        # a segment's length is rounded to a sample
        assert plan.seconds == pytest.approx(plan_of(name).seconds, abs=1e-3)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_signal_renders_up_to_its_level_and_not_above(name):
    peak_dbfs = 20 * np.log10(np.max(np.abs(stimulus_of(name))))
    assert plan_of(name).peak_dbfs - 0.01 < peak_dbfs <= plan_of(name).peak_dbfs + 1e-9


@pytest.mark.parametrize(
    ("name", "seconds", "tolerance"),
    [
        ("standard", 115.0, 1.0),
        ("quick", 49.0, 1.0),
        ("check", 20.0, 1.0),
        ("loop", 20.0, 0.5),
        ("dynamics", 46.0, 1.0),
        ("distortion", 103.0, 1.0),
        ("measure", 171.5, 1.0),
        ("a440", 3.0, 0.0),
        ("settling", 44.0, 1.0),
    ],
)
def test_lengths_are_as_promised(name, seconds, tolerance):
    assert plan_of(name).seconds == pytest.approx(seconds, abs=tolerance)


@pytest.mark.parametrize(("name", "mixture_seconds"), [("standard", 60.0), ("quick", 20.0)])
def test_the_mixture_is_65_guitar_20_noise_10_multisine_and_5_silence(name, mixture_seconds):
    seconds = dict.fromkeys(("guitar", "noise", "multisine", "silence"), 0.0)
    for placed in plan_of(name).used_for("train"):
        seconds[placed.segment.kind] += placed.segment.seconds
    assert sum(seconds.values()) == pytest.approx(mixture_seconds)
    share = {kind: s / mixture_seconds for kind, s in seconds.items()}
    assert share == pytest.approx({"guitar": 0.65, "noise": 0.2, "multisine": 0.1, "silence": 0.05})


@pytest.mark.parametrize("name", CAPTURES)
def test_the_mixture_reaches_full_scale_and_goes_down_as_far_as_was_found_best(name):
    for placed in plan_of(name).used_for("train"):
        segment = placed.segment
        if segment.kind != "silence":
            assert segment.level_dbfs == -0.1
            assert segment.lowest_db == (-40.0 if segment.kind == "noise" else -35.0)


@pytest.mark.parametrize("name", CAPTURES)
def test_every_part_of_a_capture_is_there(name):
    plan = plan_of(name)
    kinds = [segment.kind for segment in plan.segments]
    assert kinds[:7] == ["silence", "marker", "silence", "marker", "probe", "reference", "marker"]
    assert [kinds.count(kind) for kind in ("sweep", "staircase", "reference")] == [1, 1, 1]
    assert kinds[-2:] == ["marker", "silence"]
    levels = [p.segment.level_dbfs for p in plan.of_kind("burst")]
    assert len(levels) == 3
    assert levels == sorted(levels)
    validation = list(plan.used_for("validate"))
    assert [p.segment.replicate_of for p in validation] == [None, validation[0].segment.name]
    assert [p.segment.kind for p in plan.used_for("test")] == ["guitar"]


@pytest.mark.parametrize("name", CAPTURES)
def test_the_replicate_is_the_same_samples(name):
    first, again = (stimulus_of(name)[p.slice] for p in plan_of(name).used_for("validate"))
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    "name", ["sweep", "levels", "distortion", "dynamics", "settling", "measure"]
)
def test_a_probe_stands_at_both_ends_of_what_measures_a_device(name):
    plan = plan_of(name)
    kinds = [s.kind for s in plan.segments if s.kind != "silence"]
    assert kinds[1:3] == ["marker", "probe"]
    assert kinds[-2:] == ["probe", "marker"]
    first, *_, last = (stimulus_of(name)[p.slice] for p in plan.of_kind("probe"))
    assert np.array_equal(first, last)


@pytest.mark.parametrize("name", [*CAPTURES, "check", "loop", "distortion"])
def test_the_probes_are_the_same_samples_from_the_first_seconds_to_the_last(name):
    plan = plan_of(name)
    probes = list(plan.of_kind("probe"))
    assert len(probes) >= 4
    assert all(
        np.array_equal(stimulus_of(name)[p.slice], stimulus_of(name)[probes[0].slice])
        for p in probes
    )
    assert probes[0].start < 3 * plan.sample_rate
    assert plan.frames - probes[-1].stop < 3 * plan.sample_rate


@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_held_out_is_nowhere_else(name):
    guitars = [p.segment for p in plan_of(name).of_kind("guitar")]
    seeds = [g.seed for g in guitars if g.replicate_of is None]
    assert len(seeds) == len(set(seeds))


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "a440"])
def test_a_marker_is_the_first_sound_and_the_last_and_comes_at_least_every_10_s(name):
    plan = plan_of(name)
    assert plan.bracketed() == plan
    starts = [p.start for p in plan.of_kind("marker")]
    assert max(np.diff(starts)) <= 10.0 * plan.sample_rate
    sounding = [p.segment for p in plan.placed() if p.segment.kind != "silence"]
    assert (sounding[0].kind, sounding[-1].kind) == ("marker", "marker")
    assert sounding[0].level_dbfs == -12.0


@pytest.mark.parametrize("name", [*CAPTURES, "settling"])
def test_a_marker_stands_between_every_two_bursts(name):
    kinds = [s.kind for s in plan_of(name).segments if s.kind != "silence"]
    for before, after in itertools.pairwise(kinds):
        assert not {before, after} <= {"burst", "pump"}


def test_settling_has_bursts_over_frequency_and_level_and_pumps_soft_to_hard():
    plan = plan_of("settling")
    bursts = {}
    for placed in plan.of_kind("burst"):
        bursts.setdefault(placed.segment.frequency, []).append(placed.segment.level_dbfs)
    assert bursts == {440.0: [-33.0, -18.0, -3.0], 110.0: [-18.0, -3.0], 1760.0: [-18.0, -3.0]}
    *rising, short = (placed.segment for placed in plan.of_kind("pump"))
    assert [pump.level_dbfs for pump in rising] == [-27.0, -18.0, -9.0, -3.0]
    # the last is as hard and short: what builds up under sustained power is not there yet
    assert (short.level_dbfs, short.tone_seconds) == (-3.0, 0.02)
    assert {pump.probe_dbfs for pump in (*rising, short)} == {-45.0}


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "a440"])
def test_no_silence_between_sounds_is_longer_than_a_second(name):
    # alignment looks for lost samples in what sounds; -100 dBFS is the noise of converters
    sounding = np.flatnonzero(np.abs(stimulus_of(name)) > 1e-5)
    assert np.max(np.diff(sounding)) <= 1.0 * 48_000


def test_distortion_climbs_from_soft_to_loud_and_has_what_each_measure_needs():
    plan = plan_of("distortion")
    up = [s.level_dbfs for s in plan.segments if s.kind == "sweep" and s.direction == "up"]
    assert np.diff(up) == pytest.approx([6.0] * 6)
    (down,) = [s for s in plan.segments if s.kind == "sweep" and s.direction == "down"]
    assert down.level_dbfs in up
    twins = [s for s in plan.segments if s.kind == "twin-tone"]
    assert [(t.first_hz, t.second_hz, t.ratio) for t in twins] == [
        (60.0, 7000.0, 4.0),
        (19_000.0, 20_000.0, 1.0),
        (1000.0, 1200.0, 1.0),
    ]
    odd = [s for s in plan.segments if s.kind == "multisine"]
    assert np.diff([s.level_dbfs for s in odd]) == pytest.approx([18.0] * 2)
    assert all(s.odd_only and s.realisations == 6 and s.seconds == 9.0 for s in odd)
    assert plan.seconds < 150.0


def test_a440_is_a_second_of_silence_a_second_of_440_hz_and_a_second_of_silence():
    (burst,) = plan_of("a440").segments
    assert burst.kind == "burst"
    assert burst.frequency == 440.0
    assert (burst.before_seconds, burst.tone_seconds, burst.after_seconds) == (1.0, 1.0, 1.0)

import math

import numpy as np
import pytest

from profiler.definitions import available
from profiler.errors import DefinitionError
from profiler.stimulus.plan import SAMPLE_RATES, SignalDefinition, SignalPlan, load_signal
from profiler.stimulus.synthesis import render
from profiler.stimulus.tones import burst_edges


def signal(*segments, **keys):
    return SignalDefinition.model_validate({"name": "mine", "segments": segments} | keys)


def silence(name="pause", seconds=1.0, **keys):
    return {"name": name, "kind": "silence", "use": "analyse", "seconds": seconds} | keys


def sine(name="tone", seconds=1.0, **keys):
    return {"name": name, "kind": "sine", "use": "analyse", "seconds": seconds} | keys


def marker(name, **keys):
    return {"name": name, "kind": "marker", "use": "align"} | keys


def pump(**keys):
    return {"name": "p", "kind": "pump", "use": "analyse", "level_dbfs": -6.0} | keys


def probe(name):
    return {"name": name, "kind": "probe", "use": "analyse", "level_dbfs": -20.0}


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load_signal(str(path))

    return load


@pytest.mark.parametrize("name", sorted(available("signals")))
@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_every_shipped_signal_can_be_planned_at_every_rate(name, sample_rate):
    definition = load_signal(name)
    plan = definition.plan(sample_rate)
    assert definition.name == name
    # rounding each segment to whole samples moves the end by half a sample a segment at most
    seconds = sum(segment.duration for segment in definition.segments)
    assert plan.frames == pytest.approx(seconds * sample_rate, abs=len(definition.segments) / 2)


def test_segments_stand_one_after_the_other_without_gaps():
    plan = signal(silence("a", 0.1), sine("b", 0.25), silence("c", 1 / 3)).plan(48_000)
    assert [(p.start, p.stop) for p in plan.placed()] == [
        (0, 4_800),
        (4_800, 16_800),
        (16_800, 32_800),
    ]
    assert plan.frames == 32_800
    assert plan.seconds == pytest.approx(0.1 + 0.25 + 1 / 3)
    assert plan.placed()[1].slice == slice(4_800, 16_800)


def test_a_segment_is_found_by_what_it_is_played_for_and_by_its_kind():
    plan = signal(silence(), sine(use="train"), sine("last", use="test")).plan(48_000)
    assert [p.segment.name for p in plan.used_for("train", "test")] == ["tone", "last"]
    assert [p.segment.name for p in plan.of_kind("silence")] == ["pause"]


def test_a_plan_survives_saving_and_loading(tmp_path):
    plan = load_signal("standard").plan(44_100, gain_db=-6.0)
    plan.save(tmp_path / "plan.json")
    assert SignalPlan.load_json(tmp_path / "plan.json") == plan


def test_the_peak_is_that_of_the_loudest_segment_that_sounds_with_the_gain():
    plan = signal(silence(), sine("a", level_dbfs=-20), sine("b", level_dbfs=-12.5))
    assert plan.plan(48_000).peak_dbfs == -12.5
    assert plan.plan(48_000, gain_db=-6.0).peak_dbfs == -18.5
    assert plan.plan(48_000, gain_db=-6.0).gain == pytest.approx(0.501187, abs=1e-6)
    assert signal(silence()).plan(48_000).peak_dbfs == -math.inf


def test_a_synchronised_sweep_lasts_l_ln_f2_by_f1():
    # Novak et al., JAES 63(10), 2015, eq. 24: L = round(f1 T / ln(f2/f1)) / f1
    sweep = {"name": "s", "kind": "sweep", "use": "analyse", "seconds": 5.0}
    (segment,) = signal(sweep).segments
    assert segment.rate_constant * segment.start_hz == round(20 * 5 / math.log(1000)) == 14
    assert segment.sweep_seconds == pytest.approx(14 / 20 * math.log(1000))
    assert segment.duration == segment.sweep_seconds + 0.5


def test_the_identity_is_the_same_at_any_rate_and_level_and_another_for_another_version():
    identity = signal(sine()).plan(48_000).identity
    assert signal(sine()).plan(96_000, gain_db=-12.0).identity == identity
    others = [signal(sine(), version=2), signal(sine(), seed=1), signal(sine(), name="yours")]
    assert identity not in {other.plan(48_000).identity for other in others}


def test_a_plan_without_markers_gets_marker_and_probe_at_both_ends_no_louder_than_itself():
    plan = signal(sine(level_dbfs=-30.0)).plan(48_000, gain_db=-6.0)
    bracketed = plan.bracketed()
    assert [p.segment.kind for p in bracketed.placed()] == [
        "silence",
        "marker",
        "probe",
        "sine",
        "silence",
        "probe",
        "marker",
        "silence",
    ]
    assert {p.segment.level_dbfs for p in bracketed.of_kind("marker", "probe")} == {-30.0}
    assert bracketed.peak_dbfs == plan.peak_dbfs == -36.0
    assert bracketed.identity == plan.identity
    assert bracketed.bracketed() == bracketed


def test_the_probes_that_were_added_are_the_same_samples_20_db_down():
    plan = signal(sine(level_dbfs=0.0)).plan(48_000).bracketed()
    first, last = (render(plan)[p.slice] for p in plan.of_kind("probe"))
    np.testing.assert_array_equal(first, last)
    assert 20 * np.log10(np.max(np.abs(first))) == pytest.approx(-20.0, abs=0.01)


def test_an_a440_burst_is_a_second_and_more_away_from_the_probes():
    plan = load_signal("a440").plan(48_000).bracketed()
    (burst,) = plan.of_kind("burst")
    first, last = plan.of_kind("probe")
    begins, ends = (burst.start + edge for edge in burst_edges(burst.segment, 48_000))
    assert begins - first.stop >= 48_000
    assert last.start - ends >= 48_000


def test_a_plan_with_probes_of_its_own_gets_markers_only():
    plan = signal(probe("mine"), sine()).plan(48_000).bracketed()
    assert [p.segment.name for p in plan.of_kind("probe")] == ["mine"]
    assert [p.segment.kind for p in plan.placed()][:3] == ["silence", "marker", "probe"]


def test_what_is_added_takes_no_name_that_is_taken():
    plan = signal(sine("head"), sine("probe 1", frequency=300.0)).plan(48_000).bracketed()
    names = [segment.name for segment in plan.segments]
    assert len(set(names)) == len(names)
    assert names[1:5] == ["head (added)", "probe 1 (added)", "head", "probe 1"]
    stimulus = render(plan)
    assert all(np.any(stimulus[p.slice]) for p in plan.placed() if p.segment.kind != "silence")


def test_a_marker_that_was_added_is_at_most_minus_12_dbfs():
    bracketed = signal(sine(level_dbfs=0.0)).plan(48_000).bracketed()
    assert {p.segment.level_dbfs for p in bracketed.of_kind("marker")} == {-12.0}


def test_a_plan_with_markers_of_its_own_is_left_as_it_is():
    plan = signal(silence("a"), marker("b"), sine(), marker("c"), silence("d")).plan(48_000)
    assert plan.bracketed() == plan
    assert plan.bracketed().bracketed() == plan


@pytest.mark.parametrize(
    ("segments", "complaint"),
    [
        ([sine(), sine()], "two segments are named 'tone'"),
        ([sine(replicate_of="later"), sine("later")], "does not stand before it"),
        ([sine(), sine("again", 2.0, replicate_of="tone")], "'tone' but differs from it"),
        ([sine(), sine("again", frequency=441, replicate_of="tone")], "but differs from it"),
        ([sine(level_dbfs=0.5)], "less than or equal to 0"),
        ([sine(seconds=0)], "greater than 0"),
        ([sine(use="play")], "'align', 'analyse', 'train', 'validate' or 'test'"),
        ([], "at least 1 item"),
        (
            [{"name": "s", "kind": "sweep", "use": "analyse", "seconds": 1, "stop_hz": 20}],
            "stop_hz must lie above start_hz 20",
        ),
        (
            [
                {
                    "name": "s",
                    "kind": "staircase",
                    "use": "analyse",
                    "seconds": 1,
                    "level_dbfs": -60,
                }
            ],
            "lowest_dbfs must lie below level_dbfs -60",
        ),
        (
            [
                {
                    "name": "s",
                    "kind": "level-step",
                    "use": "analyse",
                    "level_dbfs": -20,
                    "soft_dbfs": -20,
                }
            ],
            "soft_dbfs must lie below level_dbfs -20",
        ),
        ([pump(level_dbfs=-45.0)], "probe_dbfs must lie below level_dbfs -45"),
        ([pump(probe_frequency=3080.0)], "every harmonic of frequency 440, .*: 3300 does"),
        ([pump(frequency=1760.0, probe_frequency=1000.0)], "above the first: 2640 does"),
    ],
)
def test_what_cannot_be_meant_is_refused(segments, complaint):
    with pytest.raises(ValueError, match=complaint):
        signal(*segments)


def test_a_replicate_may_have_another_name_and_use():
    signal(sine(use="validate"), sine("again", use="analyse", replicate_of="tone"))


def test_an_unknown_sample_rate_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="22050 Hz: expected one of 44100, 48000, 88200"):
        signal(sine()).plan(22_050)


def test_a_wrong_key_of_a_segment_is_named_with_its_meaning(load):
    text = 'name = "mine"\n[[segments]]\nkind = "sine"\nname = "a"\nuse = "analyse"\n'
    with pytest.raises(DefinitionError, match=r"mine\.toml: segments\.0\.seconds is missing \(le"):
        load(text)
    with pytest.raises(
        DefinitionError,
        match=r"unknown key segments\.0\.freq: did you mean frequency \(in Hz\)",
    ):
        load(text + "seconds = 1.0\nfreq = 440\n")


def test_a_recording_is_looked_for_beside_the_definition_that_names_it(load, tmp_path):
    definition = load(
        'name = "mine"\n[[segments]]\nkind = "file"\nname = "a"\nuse = "train"\nseconds = 1\n'
        'path = "di.wav"\n'
    )
    assert definition.segments[0].path == str(tmp_path / "di.wav")


def test_an_absolute_path_of_a_recording_stays(load):
    definition = load(
        'name = "mine"\n[[segments]]\nkind = "file"\nname = "a"\nuse = "train"\nseconds = 1\n'
        'path = "/music/di.wav"\n'
    )
    assert definition.segments[0].path == "/music/di.wav"

import tracemalloc

import numpy as np
import pytest

from profiler import wav
from profiler.errors import CaptureError, DefinitionError
from profiler.stimulus import synthesis
from profiler.stimulus.guitar import guitar
from profiler.stimulus.marker import marker
from profiler.stimulus.plan import SAMPLE_RATES, SignalDefinition
from profiler.stimulus.sweep import sweep
from profiler.stimulus.synthesis import render
from profiler.stimulus.tones import burst

EVERY_KIND = (
    {"kind": "silence", "seconds": 0.25},
    {"kind": "marker"},
    {"kind": "sine", "seconds": 0.3},
    {"kind": "burst", "before_seconds": 0.1, "tone_seconds": 0.2, "after_seconds": 0.1},
    {"kind": "pump", "before_seconds": 0.1, "tone_seconds": 0.2, "after_seconds": 0.1},
    {"kind": "sweep", "seconds": 0.5},
    {"kind": "staircase", "seconds": 0.4, "steps": 4},
    {"kind": "level-step", "soft_dbfs": -20.0, "before_seconds": 0.1, "loud_seconds": 0.2},
    {"kind": "multisine", "seconds": 0.6},
    {"kind": "multisine", "seconds": 1.0, "odd_only": True},
    {"kind": "noise", "seconds": 0.7},
    {"kind": "guitar", "seconds": 0.8},
)


def a_plan(*segments, sample_rate=48_000, gain_db=0.0, seed=1):
    named = [
        {"name": f"{k}", "use": "train", "level_dbfs": -6.0} | segment
        for k, segment in enumerate(segments)
    ]
    definition = SignalDefinition.model_validate({"name": "s", "seed": seed, "segments": named})
    return definition.plan(sample_rate, gain_db=gain_db)


@pytest.fixture
def di(tmp_path):
    """A DI of one second and 0.5 peak, whose first tenth is silent."""
    samples = 0.5 * np.sin(np.arange(48_000) * 0.05).astype(np.float32)
    samples[:4800] = 0.0
    wav.write(tmp_path / "di.wav", samples, 48_000)
    return tmp_path / "di.wav"


def from_file(path, **changes):
    return {"kind": "file", "path": str(path), "seconds": 0.5} | changes


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_every_kind_fills_its_segment_up_to_its_level_at_every_sample_rate(sample_rate):
    plan = a_plan(*EVERY_KIND, sample_rate=sample_rate)
    stimulus = render(plan)
    assert stimulus.dtype == np.float32
    assert stimulus.shape == (plan.frames,)
    silence, *sounding = plan.placed()
    assert not stimulus[silence.slice].any()
    for placed in sounding:
        peak = np.max(np.abs(stimulus[placed.slice]))
        assert peak <= 10 ** (-6 / 20)  # a ceiling, so not even by a rounding
        # markers keep one level at every rate, tones may have no sample on their crest
        assert peak > 10 ** (-6.7 / 20)


def test_segments_stand_where_the_plan_says():
    plan = a_plan(*EVERY_KIND)
    stimulus = render(plan)
    placed = {p.segment.kind: p for p in plan.placed()}
    for kind, samples in (
        ("marker", marker(placed["marker"].segment, plan.identity, 48_000)),
        ("burst", burst(placed["burst"].segment, 48_000)),
        ("sweep", sweep(placed["sweep"].segment, 48_000)),
        ("guitar", guitar(placed["guitar"].segment, 48_000, np.random.default_rng([1, 0]))),
    ):
        np.testing.assert_allclose(stimulus[placed[kind].slice], samples, atol=1e-7)


@pytest.mark.parametrize("kind", ["guitar", "noise", "multisine"])
def test_material_is_drawn_from_the_seeds_of_plan_and_segment(kind):
    def rendered(seed, plan_seed=1):
        return render(a_plan({"kind": kind, "seconds": 0.5, "seed": seed}, seed=plan_seed))

    assert np.array_equal(rendered(3), rendered(3))
    assert not np.array_equal(rendered(3), rendered(4))
    assert not np.array_equal(rendered(3), rendered(3, plan_seed=2))


def test_a_segment_does_not_depend_on_those_before_it():
    riff = {"kind": "guitar", "seconds": 0.5, "seed": 3}
    alone = render(a_plan(riff))
    second = render(a_plan({"kind": "noise", "seconds": 0.5}, riff))[24_000:]
    assert np.array_equal(alone, second)


def test_a_replicate_is_the_same_samples_and_so_is_an_equal_segment():
    riff = {"kind": "guitar", "seconds": 0.5, "seed": 3, "name": "riff"}
    plan = a_plan(riff, riff | {"name": "again", "replicate_of": "riff"}, riff | {"name": "equal"})
    first, again, equal = render(plan).reshape(3, -1)
    assert np.array_equal(first, again)
    assert np.array_equal(first, equal)


def test_the_gain_of_the_plan_lowers_all_of_it():
    full, lower = (render(a_plan(*EVERY_KIND, gain_db=gain)) for gain in (0.0, -20.0))
    np.testing.assert_allclose(lower, 0.1 * full, atol=1e-8)


def test_no_sample_is_lifted_above_its_level_by_rounding():
    for hundredths in range(1, 60):
        level = -0.01 * hundredths
        loud = render(a_plan({"kind": "noise", "seconds": 0.02, "level_dbfs": level}))
        assert float(np.max(np.abs(loud))) <= 10 ** (level / 20)


def test_a_file_is_played_from_its_offset_at_the_level_of_the_segment(di):
    stimulus = render(a_plan(from_file(di, offset_seconds=0.3)))
    original, _ = wav.read_mono(di)
    # but for 5 ms of fade at either end
    middle = slice(300, 23_700)
    passage = original[14_400 : 14_400 + 24_000]
    gain = 10 ** (-6 / 20) / 0.5
    np.testing.assert_allclose(stimulus[middle], gain * passage[middle], rtol=1e-4, atol=1e-7)
    assert stimulus[0] == 0.0


def test_a_file_of_another_rate_is_refused(di):
    with pytest.raises(CaptureError, match="48000 Hz, expected 96000 Hz"):
        render(a_plan(from_file(di), sample_rate=96_000))


def test_a_stereo_file_is_refused(tmp_path):
    wav.write(tmp_path / "two.wav", np.ones((48_000, 2), np.float32), 48_000)
    with pytest.raises(CaptureError, match="2 channels"):
        render(a_plan(from_file(tmp_path / "two.wav")))


def test_a_file_too_short_is_refused(di):
    with pytest.raises(DefinitionError, match=r"lasts 1\.00 s, but segment '0' takes 0\.5 s from"):
        render(a_plan(from_file(di, offset_seconds=0.6)))


def test_a_silent_passage_of_a_file_is_refused(di):
    with pytest.raises(DefinitionError, match="is silent"):
        render(a_plan(from_file(di, seconds=0.1)))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="no such file"):
        render(a_plan(from_file(tmp_path / "none.wav")))


@pytest.mark.parametrize("sample_rate", [44_100, 192_000])
def test_the_blocks_are_the_stimulus_bit_for_bit_wherever_they_are_cut(
    sample_rate, monkeypatch, tmp_path
):
    rng = np.random.default_rng(3)
    di = rng.uniform(-0.4, 0.4, sample_rate).astype(np.float32)
    wav.write(tmp_path / "di.wav", di, sample_rate)
    plan = a_plan(
        *EVERY_KIND,
        from_file(tmp_path / "di.wav", seconds=0.7, offset_seconds=0.1),
        {"kind": "reference"},
        {"kind": "probe"},
        sample_rate=sample_rate,
        gain_db=-1.3,
    )
    whole = render(plan)
    monkeypatch.setattr(synthesis, "BLOCK_FRAMES", 1009)
    blocks = list(synthesis.render_blocks(plan))
    assert max(map(len, blocks)) == 1009
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_a_replicate_of_a_marker_plays_the_code_of_the_original():
    plan = a_plan({"kind": "marker"}, {"kind": "marker", "replicate_of": "0"})
    first, again = render(plan).reshape(2, -1)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("kind", ["silence", "sine", "staircase", "file"])
def test_a_long_segment_takes_no_more_memory_than_a_few_blocks(kind, tmp_path):
    long = {"kind": kind, "seconds": 60.0}
    if kind == "file":
        wav.write(tmp_path / "di.wav", np.ones(60 * 48_000, np.float32), 48_000)
        long = from_file(tmp_path / "di.wav", seconds=60.0)
    plan = a_plan(long)
    tracemalloc.start()
    frames = sum(len(block) for block in synthesis.render_blocks(plan))
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames == 60 * 48_000
    assert highest < 12 * 8 * synthesis.BLOCK_FRAMES  # a dozen float64 blocks; all of it: 23 MB


def test_what_is_written_is_what_is_rendered(tmp_path):
    plan = a_plan(*EVERY_KIND)
    synthesis.write(tmp_path / "s.wav", plan)
    written, rate = wav.read_mono(tmp_path / "s.wav")
    assert rate == 48_000
    np.testing.assert_array_equal(written, render(plan))

import dataclasses

import numpy as np
import pytest

from profiler.errors import TrainingError
from profiler.model.dataset import build_dataset, tiling, windows

PARTS = [
    ("before", "analyse", 0.5, None),
    ("one", "train", 0.5, None),
    ("two", "train", 0.25, None),
    ("held out", "validate", 0.25, None),
    ("again", "validate", 0.25, "held out"),
    ("three", "train", 0.5, None),
    ("last", "test", 0.25, None),
]


def test_outputs_of_windows_lie_inside_what_was_played_for_their_use(make_capture):
    dataset = build_dataset([make_capture(PARTS)], 100)
    assert dataset.train == ((0, 24_000, 60_000), (0, 84_000, 108_000))
    assert dataset.validate == ((0, 60_000, 72_000),)
    for capture, start in windows(dataset.train, 1000, 999):
        assert any(
            s.capture == capture and s.start <= start and start + 1000 <= s.stop
            for s in dataset.train
        )


def test_windows_do_not_overlap_and_a_tiling_leaves_nothing_out(make_capture):
    dataset = build_dataset([make_capture(PARTS)], 100)
    assert len(windows(dataset.train, 1000)) == 36 + 24
    starts = sorted(start for _, start in windows(dataset.train, 1000, 300))
    assert np.min(np.diff(starts)) == 1000
    covered = [t for _, start, n in tiling(dataset.validate, 700) for t in range(start, start + n)]
    assert covered == list(range(60_000, 72_000))


def test_history_is_what_was_played_before_and_silence_before_the_start(make_capture):
    capture = make_capture(PARTS)
    dataset = build_dataset([capture], 100)
    inputs = dataset.stimulus_scale * dataset.inputs(0, 60_000, 10).numpy()
    assert inputs == pytest.approx(capture.stimulus[60_000 - 99 : 60_010], abs=1e-6)
    first = dataset.stimulus_scale * dataset.inputs(0, 0, 10).numpy()
    assert first == pytest.approx(np.concatenate([np.zeros(99), capture.stimulus[:10]]), abs=1e-6)


def test_targets_have_unit_rms_over_the_training_part(make_capture):
    capture = make_capture(PARTS)
    dataset = build_dataset([capture], 100)
    train = np.concatenate(
        [dataset.outputs(0, s.start, s.stop - s.start).numpy() for s in dataset.train]
    )
    assert np.sqrt(np.mean(train**2)) == pytest.approx(1.0, rel=1e-5)
    whole = dataset.outputs(0, 0, len(capture.response)).numpy()
    assert whole * dataset.target_scale == pytest.approx(capture.response, abs=1e-6)


def test_stimuli_have_unit_rms_over_the_training_part(make_capture):
    dataset = build_dataset([make_capture(PARTS)], 1)
    train = [dataset.inputs(0, s.start, s.stop - s.start).numpy() for s in dataset.train]
    assert np.sqrt(np.mean(np.concatenate(train) ** 2)) == pytest.approx(1.0, rel=1e-5)


def test_several_captures_are_learned_together(make_capture):
    dataset = build_dataset([make_capture(PARTS), make_capture(PARTS, seed=1)], 100)
    assert [s.capture for s in dataset.train] == [0, 0, 1, 1]


@pytest.mark.parametrize("missing", ["train", "validate"])
def test_refuses_a_plan_without_a_part_to_train_or_validate_on(make_capture, missing):
    kept = [part for part in PARTS if part[1] != missing]
    with pytest.raises(TrainingError, match=f"no segment of use '{missing}'"):
        build_dataset([make_capture(kept)], 100)


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        (lambda x: 0.0 * x, "silent where the network should learn"),
        (lambda x: 0.0 * x + 0.1, "constant"),
        (lambda x: np.where(x > 0.5, np.nan, x), "not numbers"),
    ],
)
def test_refuses_a_response_that_cannot_be_learned_from(make_capture, device, complaint):
    with pytest.raises(TrainingError, match=complaint):
        build_dataset([make_capture(PARTS, device=device)], 100)


def test_refuses_a_response_that_is_silent_where_it_is_validated(make_capture):
    def fails_later(x):
        return np.where(np.arange(len(x)) < 60_000, x, 0.0)

    with pytest.raises(TrainingError, match="silent where the model would be validated"):
        build_dataset([make_capture(PARTS, device=fails_later)], 100)


def test_refuses_a_stimulus_that_is_silent_where_the_network_should_learn(make_capture):
    capture = make_capture(PARTS)
    unplayed = dataclasses.replace(capture, stimulus=np.zeros_like(capture.stimulus))
    with pytest.raises(TrainingError, match="the stimulus is silent"):
        build_dataset([unplayed], 100)


def test_refuses_captures_of_different_rates(make_capture):
    captures = [make_capture(PARTS), make_capture(PARTS, sample_rate=44_100)]
    with pytest.raises(TrainingError, match="2 sample rates"):
        build_dataset(captures, 100)

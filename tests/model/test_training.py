import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from profiler.analysis.error import esr
from profiler.errors import TrainingError
from profiler.model import ramp, training
from profiler.model.dataset import stretches_of
from profiler.model.streaming import render
from profiler.model.training import TrainingOptions, finished_model, load_trained, train

KILLED = Path(__file__).with_name("train_until_killed.py")


def options(**changes):
    chosen = {
        "architecture": "nano",
        "minutes": None,
        "steps": 30,
        "window": 2048,
        "batch": 2,
        "learning_rate": 5e-3,
    }
    return TrainingOptions(**(chosen | changes))


def test_learns_a_device_and_keeps_the_weights_that_did_best(capture, tmp_path):
    seen = []
    model = train([capture], tmp_path / "m", options(steps=300), on_progress=seen.append)
    last = next(p.slice for p in capture.plan.used_for("test"))
    estimate = render(model.network, capture.stimulus)
    # 300 steps of the smallest network: far from done, and far better than silence (1.0)
    assert esr(capture.response[last], estimate[last]) < 0.1
    best = min(model.history, key=lambda row: row.validation_esr)
    assert (model.validation_esr, model.step) == (best.validation_esr, best.step)
    assert model.finished
    assert not model.interrupted
    assert model.history[-1].step == 300
    assert (seen[-1].step, seen[-1].fraction, seen[-1].eta_seconds) == (300, 1.0, 0.0)
    assert seen[-1].best_esr == model.validation_esr


def test_the_validation_esr_is_that_of_the_exported_network(capture, tmp_path):
    model = train([capture], tmp_path / "m", options())
    held_out = next(p.slice for p in capture.plan.used_for("validate"))
    estimate = render(model.network, capture.stimulus)
    measured = esr(capture.response[held_out], estimate[held_out])
    assert measured == pytest.approx(model.validation_esr, rel=1e-4)


def test_the_trained_network_and_the_one_that_is_exported_agree(capture, tmp_path):
    model = train([capture], tmp_path / "m", options(steps=5))
    difference = model.estimate(capture.stimulus) - render(model.network, capture.stimulus)
    assert np.max(np.abs(difference)) < 1e-5


def test_does_not_depend_on_the_level_at_which_the_device_is_driven(make_capture, tmp_path):
    parts = [("train", "train", 2.0, None), ("held out", "validate", 0.5, None)]
    loud, quiet = make_capture(parts), make_capture(parts)
    quiet = dataclasses.replace(quiet, stimulus=quiet.stimulus / 16, response=quiet.response / 4)
    first = train([loud], tmp_path / "loud", options())
    second = train([quiet], tmp_path / "quiet", options())
    # powers of two: nothing but the scales differs
    assert np.array_equal(first.weights, second.weights)
    same = render(first.network, loud.stimulus) - 4 * render(second.network, quiet.stimulus)
    assert np.max(np.abs(same)) < 1e-6


def test_one_seed_gives_one_model_on_any_number_of_threads(capture, tmp_path, monkeypatch):
    first = train([capture], tmp_path / "first", options())
    monkeypatch.setattr(training, "available_cores", lambda: 1)
    second = train([capture], tmp_path / "second", options())
    other = train([capture], tmp_path / "other", options(seed=1))
    assert np.array_equal(first.weights, second.weights)
    assert first.validation_esr == second.validation_esr
    assert not np.array_equal(first.weights, other.weights)


def test_a_killed_training_goes_on_to_the_same_end(make_capture, tmp_path):
    parts = [("train", "train", 2.0, None), ("held out", "validate", 0.5, None)]
    capture = make_capture(parts)
    chosen = options(steps=120)
    whole = train([capture], tmp_path / "whole", chosen)

    killed = tmp_path / "killed"
    np.savez(tmp_path / "capture.npz", stimulus=capture.stimulus, response=capture.response)
    (tmp_path / "plan.json").write_text(capture.plan.model_dump_json())
    (tmp_path / "options.json").write_text(chosen.model_dump_json())
    process = subprocess.Popen([sys.executable, str(KILLED), str(tmp_path), str(killed)])
    state = killed / training.STATE_FILE
    while not (state.is_file() and training._load_facts(state)["history"]):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert not load_trained(killed).finished
    resumed = train([capture], killed, chosen)
    assert resumed.finished
    assert np.array_equal(resumed.weights, whole.weights)
    assert [row.validation_esr for row in resumed.history] == [
        row.validation_esr for row in whole.history
    ]


def test_minutes_end_in_time_and_the_schedule_with_them(capture, tmp_path):
    model = train([capture], tmp_path / "m", options(steps=None, minutes=0.05))
    assert model.finished
    # 3 s; a step takes some milliseconds, the last plan misses by some per cent
    assert model.seconds == pytest.approx(3.0, abs=1.0)
    assert model.history[-1].step > 30


def test_stops_as_soon_as_the_wanted_esr_is_reached(capture, tmp_path):
    model = train([capture], tmp_path / "m", options(steps=2000, until_esr=0.5))
    assert model.finished
    assert model.validation_esr <= 0.5
    assert model.history[-1].step < 1000
    assert [row.validation_esr <= 0.5 for row in model.history].index(True) == (
        len(model.history) - 1
    )


def test_what_is_held_out_for_the_test_has_no_part_in_it(capture, tmp_path):
    last = next(p.slice for p in capture.plan.used_for("test"))
    response = capture.response.copy()
    response[last] = np.random.default_rng(1).standard_normal(last.stop - last.start)
    other = dataclasses.replace(capture, response=response)
    first = train([capture], tmp_path / "first", options(steps=60))
    second = train([other], tmp_path / "second", options(steps=60))
    assert np.array_equal(first.weights, second.weights)
    assert first.history[-1].validation_esr == second.history[-1].validation_esr


def test_stops_at_a_multiple_of_the_floor(make_capture, tmp_path):
    parts = [
        ("train", "train", 2.0, None),
        ("held out", "validate", 0.5, None),
        ("again", "validate", 0.5, "held out"),
    ]
    noise = 0.2 * np.random.default_rng(5).standard_normal(144_000).astype(np.float32)
    capture = make_capture(parts)
    noisy = dataclasses.replace(capture, response=capture.response + noise)
    seen = []
    chosen = options(steps=2000, until_floor=1.5)
    model = train([noisy], tmp_path / "m", chosen, on_progress=seen.append)
    floor = seen[-1].floor_esr
    power = np.mean(np.square(noisy.response[96_000:144_000]))
    assert floor == pytest.approx(0.2**2 / power, rel=0.05)
    assert model.validation_esr <= 1.5 * floor
    assert model.history[-1].step < 2000


def test_a_floor_that_is_not_known_is_no_aim(capture, tmp_path):
    with pytest.raises(TrainingError, match="no passage is played twice"):
        train([capture], tmp_path / "m", options(until_floor=1.2))


def test_a_rate_is_looked_for_where_there_are_steps_for_it(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training.ramp, "STEPS", 10)
    chosen = options(steps=200, learning_rate=None)
    whole = train([capture], tmp_path / "whole", chosen)
    assert ramp.LEAST <= whole.learning_rate <= ramp.MOST
    assert whole.history[-1].step == 200
    again = train([capture], tmp_path / "again", chosen)
    assert np.array_equal(again.weights, whole.weights)
    short = train([capture], tmp_path / "short", options(learning_rate=None))
    assert short.learning_rate == ramp.USUAL


def test_the_run_goes_on_from_what_the_search_for_a_rate_has_learned(
    capture, tmp_path, monkeypatch
):
    rates = []
    step = training.optimiser_of(training.architecture("nano")).__class__.step

    def noted(self, gradient, rate):
        rates.append((self.steps, rate))
        return step(self, gradient, rate)

    monkeypatch.setattr("profiler.model.optimiser.Soap.step", noted)
    model = train([capture], tmp_path / "m", options(steps=1400, learning_rate=None, until_esr=0.5))
    searched = next(n for n in range(1, len(rates)) if rates[n][1] < rates[n - 1][1])
    done, rate = rates[searched]
    assert 40 < searched <= ramp.STEPS
    furthest = ramp.FURTHER * model.learning_rate
    assert ramp.rate_at(done - 1) <= furthest < ramp.rate_at(done + 1)
    assert rate == pytest.approx(model.learning_rate, rel=1e-3)  # and no second warm-up


def test_the_first_steps_do_without_the_spectra(capture, tmp_path, monkeypatch):
    told = []
    loss = training.Loss.__call__

    def noted(self, estimate, target, step):
        told.append(step)
        return loss(self, estimate, target, step)

    monkeypatch.setattr(training.Loss, "__call__", noted)
    train([capture], tmp_path / "m", options(steps=40))
    assert told == [None] * 8 + [step for step in range(4, 40) for _ in range(2)]


def test_ctrl_c_keeps_the_best_so_far_and_the_next_call_goes_on(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PROGRESS_SECONDS", 0.0)
    whole = train([capture], tmp_path / "whole", options(steps=200))

    def interrupt(progress):
        raise KeyboardInterrupt

    model = train([capture], tmp_path / "m", options(steps=200), on_progress=interrupt)
    assert model.interrupted
    assert not model.finished
    assert model.step < 200
    resumed = train([capture], tmp_path / "m", options(steps=200))
    assert resumed.finished
    assert np.array_equal(resumed.weights, whole.weights)


def test_ctrl_c_in_the_middle_of_a_step_lets_the_step_end(capture, tmp_path, monkeypatch):
    whole = train([capture], tmp_path / "whole", options(steps=20))
    loss_of = training.Loss.__call__
    signals = [signal.SIGINT]  # one: two windows come by at the same time

    def interrupted(self, estimate, target, step):
        if step == 5 and signals:
            os.kill(os.getpid(), signals.pop())
        return loss_of(self, estimate, target, step)

    monkeypatch.setattr(training.Loss, "__call__", interrupted)
    model = train([capture], tmp_path / "m", options(steps=20))
    assert model.interrupted
    monkeypatch.undo()
    assert np.array_equal(
        train([capture], tmp_path / "m", options(steps=20)).weights, whole.weights
    )


def test_a_finished_model_is_not_trained_again(capture, tmp_path):
    model = train([capture], tmp_path / "m", options())
    before = (tmp_path / "m" / training.STATE_FILE).stat().st_mtime_ns
    again = train([capture], tmp_path / "m", options())
    assert (tmp_path / "m" / training.STATE_FILE).stat().st_mtime_ns == before
    assert np.array_equal(again.weights, model.weights)
    assert finished_model(tmp_path / "m", [capture], options()) is not None
    assert finished_model(tmp_path / "m", [capture], options(seed=1)) is None
    assert finished_model(tmp_path / "nowhere", [capture], options()) is None


def test_other_options_or_captures_are_refused_unless_the_model_is_replaced(
    capture, make_capture, tmp_path
):
    train([capture], tmp_path / "m", options(steps=2))
    with pytest.raises(TrainingError, match="seed 0 instead of 1"):
        train([capture], tmp_path / "m", options(steps=2, seed=1))
    other = make_capture([("a", "train", 1.0, None), ("b", "validate", 0.5, None)])
    with pytest.raises(TrainingError, match="other captures"):
        train([other], tmp_path / "m", options(steps=2))
    replaced = train([capture], tmp_path / "m", options(steps=3, seed=1), replace=True)
    assert replaced.history[-1].step == 3
    (tmp_path / "m" / training.SPEC_FILE).write_text("{")
    assert train([capture], tmp_path / "m", options(steps=3), replace=True).finished


def test_replacing_does_not_throw_away_a_training_that_can_go_on(capture, tmp_path):
    model = train([capture], tmp_path / "m", options(steps=20))
    before = (tmp_path / "m" / training.STATE_FILE).stat().st_mtime_ns
    again = train([capture], tmp_path / "m", options(steps=20), replace=True)
    assert (tmp_path / "m" / training.STATE_FILE).stat().st_mtime_ns == before
    assert np.array_equal(again.weights, model.weights)


def test_history_is_a_table_of_validations(capture, tmp_path):
    model = train([capture], tmp_path / "m", options())
    with open(tmp_path / "m" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "seconds", "training_loss", "validation_esr"]
    assert float(rows[-1]["validation_esr"]) == model.history[-1].validation_esr


def test_the_specification_says_what_was_trained(capture, tmp_path):
    model = train([capture], tmp_path / "m", options(steps=1))
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    assert spec["schema"] == "ampscope.model/1"
    assert spec["architecture"] == "nano"
    assert spec["sample_rate"] == 48_000
    assert load_trained(tmp_path / "m").spec == model.spec


def spoilt_loss(monkeypatch, spoilt):
    """The loss, or nothing but NaN at the steps that are spoilt."""
    loss_of = training.Loss.__call__
    nothing = np.full(2048, np.nan, np.float32)

    def loss(self, estimate, target, step):
        return (np.nan, nothing) if (step or 0) in spoilt else loss_of(self, estimate, target, step)

    monkeypatch.setattr(training.Loss, "__call__", loss)


def test_a_loss_that_is_no_number_costs_a_few_steps_and_half_the_rate(
    capture, tmp_path, monkeypatch
):
    half = train([capture], tmp_path / "half", options(steps=300, learning_rate=2.5e-3))
    spoilt_loss(monkeypatch, {70})
    model = train([capture], tmp_path / "m", options(steps=300))
    assert (half.rollbacks, model.rollbacks) == (0, 1)
    assert model.history[-1].step == 300
    assert model.validation_esr < 3 * half.validation_esr


def test_a_gradient_that_is_not_finite_is_noticed_before_the_weights_are_touched(
    capture, tmp_path, monkeypatch
):
    gradient_of = training._Run._windows
    weights = []

    def windows(self, run, jobs):
        loss, gradient, power = gradient_of(self, run, jobs)
        weights.append(self.weights)
        if self.step == 3 and jobs[0] == self._batch()[0]:
            gradient[5] = np.inf
        return loss, gradient, power

    monkeypatch.setattr(training._Run, "_windows", windows)
    model = train([capture], tmp_path / "m", options(steps=8))
    assert model.rollbacks == 1
    assert all(np.isfinite(each).all() for each in weights)
    assert np.array_equal(weights[8], weights[0])  # step 4 began where all was well


def test_a_training_whose_rate_runs_away_comes_back(capture, tmp_path, monkeypatch):
    rates = training.one_cycle

    def running_away(fraction, steps):
        return 300.0 if 0.5 <= fraction < 0.53 else rates(fraction, steps)

    monkeypatch.setattr(training, "one_cycle", running_away)
    model = train([capture], tmp_path / "m", options(steps=400))
    assert model.rollbacks >= 1
    before = [row.validation_esr for row in model.history if row.step < 200]
    assert model.history[-1].validation_esr < 1.5 * min(before)  # what it had learned is there
    monkeypatch.setattr(training.Guard, "objection", lambda self, loss, power: None)
    unguarded = train([capture], tmp_path / "unguarded", options(steps=400))
    assert unguarded.history[-1].validation_esr > 10 * model.history[-1].validation_esr


def test_windows_of_silence_do_not_end_the_search_for_a_learning_rate(capture, tmp_path):
    response = capture.response.copy()
    for start, stop in stretches_of(capture.plan, "train"):
        response[start : (start + stop) // 2] = 0.0
    quiet = dataclasses.replace(capture, response=response)
    model = train([quiet], tmp_path / "m", options(steps=1600, learning_rate=None, until_esr=0.9))
    assert ramp.LEAST <= model.learning_rate <= ramp.MOST


def test_the_first_steps_take_two_windows_and_none_is_left_out(capture, tmp_path, monkeypatch):
    taken = []
    batch = training._Run._batch

    def noted(self):
        taken.append(batch(self))
        return taken[-1]

    monkeypatch.setattr(training._Run, "_batch", noted)
    train([capture], tmp_path / "m", options(steps=40, batch=3))
    assert [len(windows) for windows in taken[:7]] == [2, 2, 2, 2, 3, 3, 3]
    drawn = [window for windows in taken[:7] for window in windows]
    assert len(set(drawn)) == len(drawn)


def test_a_run_that_was_taken_back_resumes_to_the_same_end(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(training, "PROGRESS_SECONDS", 0.0)
    spoilt_loss(monkeypatch, {70, 75})
    whole = train([capture], tmp_path / "whole", options(steps=120))

    def interrupt(progress):
        if progress.step in (10, 72, 90):
            raise KeyboardInterrupt

    for _ in range(4):
        model = train([capture], tmp_path / "m", options(steps=120), on_progress=interrupt)
        interrupt_steps = model.history[-1].step
    assert interrupt_steps == 120
    assert model.rollbacks == whole.rollbacks == 2
    assert np.array_equal(model.weights, whole.weights)


def test_divergence_is_told_in_one_line(capture, tmp_path, monkeypatch):
    spoilt_loss(monkeypatch, range(100))
    with pytest.raises(TrainingError, match=r"diverged at step 9 .* a lower learning") as caught:
        train([capture], tmp_path / "m", options())
    assert "\n" not in str(caught.value)


def test_a_training_part_shorter_than_a_step_is_refused(make_capture, tmp_path):
    short = make_capture([("a", "train", 0.02, None), ("b", "validate", 0.5, None)])
    with pytest.raises(TrainingError, match=r"lasts 0.02 s, expected at least 0.13 s"):
        train([short], tmp_path / "m", options())


def test_a_folder_without_a_model_is_refused(capture, tmp_path):
    with pytest.raises(TrainingError, match="holds no model"):
        load_trained(tmp_path)
    (tmp_path / "song.txt").write_text("la")
    with pytest.raises(TrainingError, match="something else than a model"):
        train([capture], tmp_path, options())


@pytest.mark.parametrize("name", [training.WEIGHTS_FILE, training.STATE_FILE])
def test_a_damaged_file_is_refused(capture, tmp_path, name):
    train([capture], tmp_path / "m", options(steps=1))
    path = tmp_path / "m" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=f"{name}: is damaged"):
        load_trained(tmp_path / "m")


@pytest.mark.parametrize("lengths", [{"minutes": None, "steps": None}, {"minutes": 1, "steps": 9}])
def test_a_length_is_given_in_minutes_or_in_steps(lengths):
    with pytest.raises(ValueError, match="minutes or steps"):
        TrainingOptions(**lengths)

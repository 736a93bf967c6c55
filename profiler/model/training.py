"""Training: from aligned captures to the weights that do best on what was held out.

A model folder holds

    spec.json                     what is trained, on what, with which options
    weights.safetensors           the best weights so far by validation ESR
    history.csv                   step, seconds, training loss, validation ESR
    training-state.safetensors    everything that is needed to go on after a kill

The length of a run is given in minutes or in steps. Minutes are turned into steps by the
rate that is measured, and mended when the machine becomes slower or faster: the schedule
always ends when the time does. Time counts over resumed runs. With a number of steps the
result depends on captures, options, seed and engine alone, interrupted or not, on however many
threads.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import profiler
from profiler import kernels
from profiler.analysis.error import floor_esr
from profiler.analysis.forecast import forecast
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record, replacing
from profiler.errors import DefinitionError, TrainingError
from profiler.model import ramp
from profiler.model.architectures import ArchitectureName, architecture
from profiler.model.dataset import Dataset, build_dataset, tiling, windows
from profiler.model.engine import (
    Engine,
    EngineChoice,
    EngineName,
    engine_for,
    pass_for,
    passes_for,
)
from profiler.model.guard import MOST, Guard
from profiler.model.losses import Loss, LossOptions
from profiler.model.network import Network, TrainingPass
from profiler.model.optimiser import averaged, clipped, one_cycle, optimiser_of
from profiler.model.streaming import player_of, render
from profiler.model.wavenet import single_torch_thread

SAVE_SECONDS = 5.0  # between two saved states: what a kill costs at most
PROGRESS_SECONDS = 0.25
FIRST_WINDOWS = 2  # a step, while the error is so large that more of them say the same
FIRST_STEPS, FIRST_SHARE = 400, 0.1  # that this is for; of the steps of a short run
VALIDATIONS = 50  # of a whole run, at most
VALIDATION_SHARE = 0.05  # of the time, at most, but for the last one and the first seconds
EARLY_VALIDATION = 0.5  # of the interval that this makes: when the first one comes,
EARLY_GROWTH = 0.3  # and each after so much of what was trained before it, until that is more
VALIDATION_PIECE = 65536  # samples that one thread plays at a time
PLAYED_SHARE = 0.15  # of the time of a training sample: what a sample of validation takes
WARM_UP, WARM_UP_STEPS = 0.05, 30  # of a schedule without a range test; at most
MEASURING_STEPS = 8  # before the first plan; the very first one also warms up
RANGE_OF_STEPS = 20  # a run of fewer times the steps of a range test has no such test
RANGE_SHARE = 0.1  # of the time, at most: where it takes longer, the usual rate is taken
PLAN_TOLERANCE = 0.02  # of the budget: a plan that misses it by more is mended


class TrainingOptions(Record):
    """How a model is trained."""

    architecture: ArchitectureName = Field(default="standard", description="size of the network")
    minutes: float | None = Field(
        default=1.5, gt=0.0, description="training time, over all resumed runs"
    )
    steps: int | None = Field(
        default=None, ge=1, description="number of steps instead of a time: repeatable exactly"
    )
    until_esr: float | None = Field(
        default=None, gt=0.0, description="stop as soon as the validation ESR is this low"
    )
    seed: int = Field(default=0, ge=0, description="of first weights and order of windows")
    until_floor: float | None = Field(
        default=None,
        gt=1.0,
        description="stop at this multiple of the floor that the capture's repeats allow",
    )
    learning_rate: float | None = Field(
        default=None, gt=0.0, description="peak of the schedule; none: by a range test"
    )
    window: int = Field(default=4096, ge=2048, description="outputs a window, in samples")
    batch: int = Field(default=4, ge=1, description="windows a step")
    loss: LossOptions = Field(default=LossOptions(), description="which errors count")
    engine: EngineChoice = Field(default="auto", description="what computes: native or torch")

    @model_validator(mode="after")
    def _ends_somewhere(self) -> Self:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give minutes or steps, one of them")
        return self


PresetName = Literal["quick", "standard", "best"]

# How long a user wants to wait, on a laptop; more windows a step are worth it in long runs.
PRESETS: dict[PresetName, dict] = {
    "quick": {"minutes": 20 / 60},
    "standard": {"minutes": 1.5},
    "best": {"minutes": 10.0, "batch": 8},
}


class ModelSpec(Record):
    """`spec.json`: what is trained, on what, and how."""

    schema_: Literal["ampscope.model/1"] = Field(default="ampscope.model/1", alias="schema")
    software_version: str = profiler.__version__
    architecture: ArchitectureName
    engine: EngineName = "torch"  # what computed it; files without it are older than the choice
    receptive_field_samples: int
    parameter_count: int
    sample_rate: int
    stimulus_scale: float  # RMS of the stimulus over the training part; the weights take 1
    target_scale: float  # RMS of the response there; the weights give 1
    captures: tuple[str, ...]  # SHA-256 of each aligned pair and its plan
    options: TrainingOptions


class HistoryRow(Record):
    """One validation."""

    step: int
    seconds: float
    training_loss: float  # mean over the steps since the one before, re the target's power
    validation_esr: float


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run is."""

    step: int
    steps_planned: int | None  # None while the rate is still being measured
    fraction: float  # of the schedule
    seconds: float  # trained, over all resumed runs
    eta_seconds: float | None
    training_loss: float
    validation_esr: float | None
    best_esr: float | None
    samples_per_second: float
    learning_rate: float | None  # peak of the schedule; None while it is being looked for
    rollbacks: int  # how often the run was taken back
    floor_esr: float | None  # what a perfect model would reach; None: nothing was played twice
    history: tuple[HistoryRow, ...]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The best weights of a run, and how they came about."""

    folder: Path
    spec: ModelSpec
    weights: np.ndarray  # (parameter_count,) float32, for stimulus and target of unit RMS
    step: int  # at which they were found
    validation_esr: float
    seconds: float  # trained in all
    history: tuple[HistoryRow, ...]
    learning_rate: float | None  # peak of the schedule, as it was found or given
    rollbacks: int  # how often the run was taken back
    finished: bool  # False: the schedule has not come to its end
    interrupted: bool = False  # by Ctrl-C, in this very call

    @property
    def architecture(self) -> ArchitectureName:
        """Size of the network."""
        return self.spec.architecture

    @property
    def network(self) -> Network:
        """The network in units of the capture, as it is exported."""
        config = architecture(self.spec.architecture)
        scales = self.spec.stimulus_scale, self.spec.target_scale
        return Network(config, config.scaled(self.weights, *scales), self.spec.sample_rate)

    def estimate(self, stimulus: np.ndarray) -> np.ndarray:
        """The network as it was trained, on a whole signal after silence, `(n,)` float32."""
        config = architecture(self.spec.architecture)
        scaled = stimulus / np.float32(self.spec.stimulus_scale)
        if config.recurrent:  # its state begins as it does in players
            network = Network(config, self.weights, self.spec.sample_rate)
            return render(network, scaled) * np.float32(self.spec.target_scale)
        padding = np.zeros(config.receptive_field - 1, np.float32)
        padded = np.concatenate([padding, scaled]).astype(np.float32)
        run = pass_for(engine_for(config).name, config, self.spec.options.window)
        with single_torch_thread():
            parts = [
                _forward_of(run, self.weights, padded[start : start + run.inputs])
                for start in range(0, len(stimulus), run.outputs)
            ]
        return np.concatenate(parts) * np.float32(self.spec.target_scale)


def train(
    captures: Sequence[AlignedCapture],
    folder: Path,
    options: TrainingOptions,
    *,
    replace: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainedModel:
    """Train a model in a folder, or go on with the training that was begun there.

    A finished run is returned as it is. Ctrl-C ends the training and returns the best
    weights so far, `interrupted`; the next call with the same captures and options goes on.
    A model of other captures or options is left alone, or replaced where `replace` says so.

    Raises
    ------
    TrainingError
        The material cannot be learned from (see `build_dataset`); the folder holds a model
        with other captures or options; the weights diverged; the folder is damaged.
    """
    folder = Path(folder)
    config = architecture(options.architecture)
    engine = training_engine(folder, options).name
    dataset = build_dataset(captures, config.receptive_field)
    spec = _spec(captures, dataset, options, engine)
    _claim(folder, spec, replace)
    with single_torch_thread():
        run = _Run(folder, spec, dataset, _floor(captures, options), on_progress)
        if not run.finished:
            run.train()
    return load_trained(folder, interrupted=run.interrupted)


def training_engine(folder: Path, options: TrainingOptions) -> Engine:
    """The engine that trains in a folder.

    One that chose itself stays what it was, so that a run goes on as it was begun.

    Raises
    ------
    TrainingError
        It is asked for and not there.
    """
    choice = options.engine
    spec_path = Path(folder) / SPEC_FILE
    if choice == "auto" and spec_path.is_file():
        with contextlib.suppress(DefinitionError):  # a damaged file is told of by `train`
            choice = ModelSpec.load_json(spec_path).engine
            if choice == "native" and not kernels.available():
                choice = "auto"
    return engine_for(architecture(options.architecture), choice)


def finished_model(
    folder: Path, captures: Sequence[AlignedCapture], options: TrainingOptions
) -> TrainedModel | None:
    """The model in a folder, if it was trained to its end on these captures with these options."""
    folder = Path(folder)
    if not all((folder / name).is_file() for name in (SPEC_FILE, WEIGHTS_FILE, STATE_FILE)):
        return None
    model = load_trained(folder)
    same = model.spec.options == options and model.spec.captures == tuple(
        _fingerprint(capture) for capture in captures
    )
    return model if same and model.finished else None


def load_trained(folder: Path, *, interrupted: bool = False) -> TrainedModel:
    """The model in a folder.

    Raises
    ------
    TrainingError
        There is none, or its files are damaged.
    DefinitionError
        `spec.json` is damaged or of another version.
    """
    folder = Path(folder)
    spec_path = folder / SPEC_FILE
    if not spec_path.is_file():
        raise TrainingError(f"{folder}: holds no model (no {SPEC_FILE})")
    spec = ModelSpec.load_json(spec_path)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise TrainingError(
            f"{folder}: its training has not yet reached a first validation: train it again"
        )
    tensors, facts = _load(path)
    expected = architecture(spec.architecture).parameter_count
    weights = tensors.get("weights", np.empty(0, np.float32))
    if weights.shape != (expected,) or not np.isfinite(weights).all():
        raise TrainingError(
            f"{path}: holds {weights.size} weights, expected {expected} finite ones: train again"
        )
    state_facts = _load_facts(folder / STATE_FILE)
    return TrainedModel(
        folder,
        spec,
        weights,
        facts["step"],
        facts["validation_esr"],
        state_facts["seconds"],
        tuple(HistoryRow(**row) for row in state_facts["history"]),
        state_facts["learning_rate"],
        state_facts["guard"]["rollbacks"],
        state_facts["finished"],
        interrupted,
    )


SPEC_FILE = "spec.json"
WEIGHTS_FILE = "weights.safetensors"
HISTORY_FILE = "history.csv"
STATE_FILE = "training-state.safetensors"


class _Run:
    """One run: its state, and the loop that changes it."""

    def __init__(self, folder, spec, dataset: Dataset, floor: float | None, on_progress):
        self.floor = floor
        self.folder, self.spec, self.options, self.dataset = folder, spec, spec.options, dataset
        self.config = architecture(spec.architecture)
        self.on_progress = on_progress
        self.interrupted = False
        self.optimiser = optimiser_of(self.config)
        self.weights = self.config.initial_weights(self.options.seed)
        self.average = self.weights.copy()
        self.best: np.ndarray | None = None
        self.best_row: HistoryRow | None = None
        self.step, self.fraction, self.seconds = 0, 0.0, 0.0
        self.planned = self.options.steps
        self.finished = False
        self.history: list[HistoryRow] = []
        self.losses: list[float] = []  # since the last validation
        self.rate = self.options.learning_rate or self.config.first_rate  # None until it is found
        self.ramp = 0  # steps that this took
        self.guard = Guard(self._state_of_weights)
        self.validated = 0  # the step of the last validation that was due
        if (folder / STATE_FILE).is_file():
            self._restore()
        targets = (dataset.outputs(s.capture, s.start, s.stop - s.start) for s in dataset.train)
        self.loss = Loss(self.options.loss, [target.numpy() for target in targets])
        self.threads = max(1, min(self.options.batch, available_cores()))
        self.passes: SimpleQueue[TrainingPass] = SimpleQueue()  # those that no thread is using
        shape = self.config, self.options.window, self.options.batch
        for run in passes_for(spec.engine, *shape, self.threads):
            self.at_a_time = run.windows
            self.passes.put(run)
        held_out = sum(stretch.stop - stretch.start for stretch in dataset.validate)
        worth = PLAYED_SHARE * held_out / VALIDATION_SHARE  # in training samples
        self.validation_windows = worth / self.options.window
        self.first_steps = FIRST_STEPS
        if self.options.steps is not None:
            self.first_steps = min(FIRST_STEPS, int(FIRST_SHARE * self.options.steps))
        self._epoch: tuple[int, list[tuple[int, int]]] = (-1, [])
        self._check_length()

    def train(self):
        started = time.perf_counter() - self.seconds
        saved = shown = self.seconds
        rate_from = (self.step, self.seconds)
        with ThreadPoolExecutor(self.threads + 1) as self.pool:
            try:
                if self.rate is None:
                    self._find_rate(started)
                    rate_from = (self.step, self.seconds)
                self.guard.begin()
                while not self.finished:
                    self._undisturbed(self._one_step)
                    self.seconds = time.perf_counter() - started
                    if self._validation_is_due():
                        self._undisturbed(self._validate)
                        self.validated = self.step
                        self.seconds = time.perf_counter() - started
                        self.finished = self._is_over()
                    self._plan(rate_from)
                    begun = self.step in (self.ramp + 1, self.first_steps)
                    if begun or self.seconds - rate_from[1] > 2 * SAVE_SECONDS:
                        rate_from = (self.step, self.seconds)
                    if self.finished or self.seconds - saved >= SAVE_SECONDS:
                        self._save()
                        saved = self.seconds
                    if self.finished or self.seconds - shown >= PROGRESS_SECONDS:
                        self._show(rate_from)
                        shown = self.seconds
            except KeyboardInterrupt:
                self.interrupted = True
                if self.best is None:
                    self._validate()
                self.seconds = time.perf_counter() - started
                self._save()

    def _undisturbed(self, work):
        """Do it in another thread: Ctrl-C reaches the main one, and never half a step."""
        doing = self.pool.submit(work)
        try:
            doing.result()
        except KeyboardInterrupt:
            doing.result()
            raise

    def _find_rate(self, started):
        """Look for a learning rate, where there are steps or time enough for it."""
        if self.options.steps is not None and self.options.steps < RANGE_OF_STEPS * ramp.STEPS:
            self.rate = ramp.USUAL
            return
        states = [(0.0, self._state_of_weights())]  # those that may be gone on from, by rate
        losses: list[float] = []
        try:
            while self.rate is None and not ramp.is_over(losses):
                self._undisturbed(lambda: self._step_of_ramp(losses))
                self.seconds = time.perf_counter() - started
                reached = ramp.rate_at(len(losses))
                if ramp.LEAST <= reached <= ramp.FURTHER * ramp.MOST:
                    states.append((reached, self._state_of_weights()))
                budget = 60.0 * (self.options.minutes or math.inf)
                if self.seconds > RANGE_SHARE * budget:
                    self.rate = ramp.USUAL
        except KeyboardInterrupt:
            self.step = 0  # the next call begins anew
            self._go_on_from(states[0][1])
            raise
        if self.rate is None:
            self.rate = ramp.peak_from(losses)
        furthest = ramp.FURTHER * self.rate
        self._go_on_from([state for at, state in states if at <= furthest][-1])
        self.ramp = self.step

    def _step_of_ramp(self, losses):
        loss, gradient, power = self._loss_and_gradient()
        if power > 0.0:
            losses.append(loss / power)
        else:  # windows of silence say nothing
            losses.append(losses[-1] if losses else 1.0)
        if not np.isfinite(gradient).all():
            losses[-1] = math.nan
            return
        change = self.optimiser.step(clipped(gradient), ramp.rate_at(self.step))
        self.weights = self.weights + change
        self.average = averaged(self.average, self.weights, self.optimiser.steps)
        self.step += 1

    def _one_step(self):
        loss, gradient, power = self._loss_and_gradient()
        wrong = self.guard.objection(loss, power)
        if wrong is None and not np.isfinite(gradient).all():
            wrong = "the gradient is not finite"
        if wrong is None:
            rate = self.guard.rate * self.rate * self._schedule()
            weights = self.weights + self.optimiser.step(clipped(gradient), rate)
            if not np.isfinite(weights).all():
                wrong = "the weights are not finite"
        self.step += 1
        if wrong is None:
            self.weights = weights
            self.average = averaged(self.average, weights, self.optimiser.steps)
            self.losses.append(loss)
            self.guard.went_well()
        else:
            self._take_back(wrong)
        if self.options.steps:
            self.fraction = (self.step - self.ramp) / (self.options.steps - self.ramp)
        elif self.planned:
            self.fraction += (1.0 - self.fraction) / max(1, self.planned - self.step + 1)

    def _take_back(self, wrong):
        good = self.guard.take_back()
        if good is None:
            raise TrainingError(
                f"training diverged at step {self.step} ({wrong}) for the {MOST + 1}th time, at "
                f"a learning rate of {self.guard.rate * self.rate:.2g}: check the take, or train "
                "with a lower learning rate"
            )
        self._go_on_from(good)

    def _go_on_from(self, state):
        self.weights, self.average = state.pop("weights"), state.pop("average")
        steps = int(state.pop("steps")[0])
        self.optimiser.restore(steps, state)

    def _state_of_weights(self):
        state = {name: array.copy() for name, array in self.optimiser.state().items()}
        steps = np.array([self.optimiser.steps], np.int64)
        return state | {"weights": self.weights, "average": self.average, "steps": steps}

    def _loss_and_gradient(self):
        """Of the windows of this step: mean loss, mean gradient, mean power of the targets."""
        jobs = self._batch()
        count, some = len(jobs), self.at_a_time
        results = self._spread([jobs[n : n + some] for n in range(0, count, some)], self._windows)
        losses, gradients, powers = zip(*results, strict=True)
        return sum(losses) / count, sum(gradients) / np.float32(count), sum(powers) / count

    def _windows(self, run, jobs):
        """Of some windows, added up: loss, gradient, and power of the targets."""
        inputs = np.stack([self.dataset.inputs(*job, run.outputs).numpy() for job in jobs])
        targets = np.stack([self.dataset.outputs(*job, run.outputs).numpy() for job in jobs])
        power = float(np.vdot(targets, targets)) / run.outputs
        estimates = run.forward(self.weights, inputs)
        # while the error is large, the spectra say the same in more time
        step = None if self.step < self.first_steps else self.step
        judged = [self.loss(*pair, step) for pair in zip(estimates, targets, strict=True)]
        losses, slopes = zip(*judged, strict=True)
        slopes = np.stack(slopes)
        if not np.isfinite(slopes).all():
            return math.nan, np.full(len(self.weights), np.nan, np.float32), power
        return sum(losses), run.backward(slopes), power

    def _validation_is_due(self):
        due = self.fraction >= 1.0 or (self.planned is not None and self.step == self.planned)
        if self.planned is None:
            return due
        least = self.validation_windows
        usual = max(least, (self._drawn(self.planned) - self._drawn(self.ramp)) / VALIDATIONS)
        before = self._drawn(self.validated) - self._drawn(self.ramp)
        early = EARLY_GROWTH * before if before > 0 else EARLY_VALIDATION * least
        since = self._drawn(self.step) - self._drawn(max(self.validated, self.ramp))
        return due or since >= min(usual, early)

    def _validate(self):
        network = Network(self.config, self.average, self.dataset.sample_rate)

        def energies(piece):
            player = player_of(network)
            played = player.process(self.dataset.inputs(*piece).numpy())[self.dataset.history :]
            target = self.dataset.outputs(*piece).numpy().astype(np.float64)
            error = played - target
            return np.dot(error, error), np.dot(target, target)

        pieces = tiling(self.dataset.validate, VALIDATION_PIECE)
        error, energy = np.sum(list(self.pool.map(energies, pieces)), axis=0)
        row = HistoryRow(
            step=self.step,
            seconds=round(self.seconds, 3),
            training_loss=float(np.mean(self.losses)) if self.losses else 0.0,
            validation_esr=float(error / energy),
        )
        self.history.append(row)
        self.losses.clear()
        if self.best_row is None or row.validation_esr < self.best_row.validation_esr:
            self.best, self.best_row = self.average.copy(), row

    def _is_over(self):
        floor = self.options.until_floor and self.options.until_floor * self.floor
        enough = max(self.options.until_esr or 0.0, floor or 0.0)
        return (
            self.best_row.validation_esr <= enough
            or self.fraction >= 1.0
            or self.step == self.planned
        )

    def _plan(self, rate_from):
        """Turn what is left of the time into steps, when there is reason to."""
        if self.options.minutes is None or self.step - self.ramp <= MEASURING_STEPS:
            return
        budget = 60.0 * self.options.minutes
        steps, seconds = self.step - rate_from[0], self.seconds - rate_from[1]
        if steps < MEASURING_STEPS - 1:
            return
        steps_left = (budget - self.seconds) * steps / seconds
        planned = self.step + max(1, round(steps_left))
        off = abs(self.planned - planned) * seconds / steps if self.planned else budget
        if off > PLAN_TOLERANCE * budget:
            self.planned = planned

    def _batch(self):
        """The windows of this step: every epoch has its own grid and order."""
        epoch, place = divmod(self._drawn(self.step), self._windows_an_epoch)
        if self._epoch[0] != epoch:
            random = np.random.default_rng([self.options.seed, epoch])
            offset = int(random.integers(self.options.window))
            grid = windows(self.dataset.train, self.options.window, offset)
            self._epoch = (epoch, [grid[index] for index in random.permutation(len(grid))])
        count = self._drawn(self.step + 1) - self._drawn(self.step)
        return self._epoch[1][place : min(place + count, self._windows_an_epoch)]

    def _drawn(self, step):
        """How many windows the steps before this one are due."""
        few = min(FIRST_WINDOWS, self.options.batch)
        return few * min(step, self.first_steps) + self.options.batch * max(
            0, step - self.first_steps
        )

    def _schedule(self):
        """Learning rate of this step, re its peak."""
        if self.ramp:  # which was the warm-up
            return one_cycle(self.fraction, warm_up=0.0)
        warm_up = WARM_UP
        if self.planned:
            warm_up = min(WARM_UP, WARM_UP_STEPS / self.planned)
        return one_cycle(self.fraction, warm_up)

    def _check_length(self):
        fewest = len(windows(self.dataset.train, self.options.window, self.options.window - 1))
        self._windows_an_epoch = fewest // self.options.batch * self.options.batch
        if self._windows_an_epoch == 0:
            seconds = sum(s.stop - s.start for s in self.dataset.train) / self.dataset.sample_rate
            needed = (self.options.batch + 1) * self.options.window / self.dataset.sample_rate
            raise TrainingError(
                f"the training part lasts {seconds:.2f} s, expected at least {needed:.2f} s in one "
                "piece: capture a longer signal"
            )

    def _spread(self, jobs, work):
        """Results of the jobs in their order; whichever thread is free takes the next."""

        def by_a_free_pass(job):
            run = self.passes.get()
            try:
                return work(run, job)
            finally:
                self.passes.put(run)

        return list(self.pool.map(by_a_free_pass, jobs))

    def _show(self, rate_from):
        if self.on_progress is None:
            return
        steps, seconds = self.step - rate_from[0], self.seconds - rate_from[1]
        rate = steps / seconds if steps > 0 else 0.0
        drawn = self._drawn(self.step) - self._drawn(rate_from[0])
        left = self.planned - self.step if self.planned else None
        self.on_progress(
            TrainingProgress(
                self.step,
                self.planned,
                min(1.0, self.fraction),
                self.seconds,
                left / rate if left is not None and rate > 0.0 else None,
                self.losses[-1] if self.losses else self.history[-1].training_loss,
                self.history[-1].validation_esr if self.history else None,
                self.best_row.validation_esr if self.best_row else None,
                drawn / seconds * self.options.window if steps > 0 else 0.0,
                self.rate,
                self.guard.rollbacks,
                self.floor,
                tuple(self.history),
            )
        )

    def _save(self):
        arrays = {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        arrays |= {"weights": self.weights, "average": self.average, **self.guard.arrays()}
        if self.best is not None:
            arrays["best"] = self.best
        facts = {
            "step": self.step,
            "optimiser_steps": self.optimiser.steps,
            "learning_rate": self.rate,
            "ramp": self.ramp,
            "validated": self.validated,
            "guard": self.guard.facts(),
            "fraction": self.fraction,
            "seconds": self.seconds,
            "planned": self.planned,
            "finished": self.finished,
            "losses": self.losses,
            "history": [row.model_dump() for row in self.history],
            "best_row": self.best_row.model_dump() if self.best_row else None,
        }
        if self.best is not None:
            weights = {"weights": self.best}
            _store(self.folder / WEIGHTS_FILE, weights, self.best_row.model_dump())
        _store(self.folder / STATE_FILE, arrays, facts)
        _write_history(self.folder / HISTORY_FILE, self.history)

    def _restore(self):
        path = self.folder / STATE_FILE
        arrays, facts = _load(path)
        try:
            self.weights, self.average = arrays["weights"], arrays["average"]
            self.best = arrays.get("best")
            self.step, self.fraction = facts["step"], facts["fraction"]
            self.seconds, self.planned = facts["seconds"], facts["planned"]
            self.finished, self.losses = facts["finished"], facts["losses"]
            self.history = [HistoryRow(**row) for row in facts["history"]]
            self.best_row = HistoryRow(**facts["best_row"]) if facts["best_row"] else None
            prefix = "optimiser."
            own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            self.optimiser.restore(facts["optimiser_steps"], own)
            self.rate, self.ramp = facts["learning_rate"], facts["ramp"]
            self.validated = facts["validated"]
            self.guard.restore(arrays, facts["guard"])
        except KeyError as missing:
            raise TrainingError(
                f"{path}: has no {missing}: remove the folder, train again"
            ) from None


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _forward_of(run: TrainingPass, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Output of at most `run.outputs` samples, by a pass of that length."""
    missing = run.inputs - len(inputs)
    if not missing:
        return run.forward(weights, inputs[None])[0].copy()
    padded = np.concatenate([inputs, np.zeros(missing, np.float32)])
    return run.forward(weights, padded[None])[0, : run.outputs - missing].copy()


def _floor(captures, options):
    """ESR that a perfect model would reach, by the passages that were played twice."""
    replicates = [forecast(capture).replicate_esr for capture in captures]
    known = [floor_esr(replicate) for replicate in replicates if replicate is not None]
    if options.until_floor is not None and (not known or not max(known)):
        raise TrainingError(
            "the floor of this capture is not known, as no passage is played twice in it: stop at "
            "an error by --until-esr, or capture a signal such as standard"
        )
    return max(known, default=None)


def _spec(captures, dataset, options, engine):
    config = architecture(options.architecture)
    return ModelSpec(
        architecture=options.architecture,
        engine=engine,
        receptive_field_samples=config.receptive_field,
        parameter_count=config.parameter_count,
        sample_rate=dataset.sample_rate,
        stimulus_scale=dataset.stimulus_scale,
        target_scale=dataset.target_scale,
        captures=tuple(_fingerprint(capture) for capture in captures),
        options=options,
    )


def _claim(folder, spec, replace):
    """Make the folder that of `spec`: as it is, newly made, or in place of another model."""
    path = folder / SPEC_FILE
    if replace:
        if not _is_of(path, spec):
            for name in (SPEC_FILE, STATE_FILE, WEIGHTS_FILE, HISTORY_FILE):
                (folder / name).unlink(missing_ok=True)
            spec.save(path)
        return
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise TrainingError(f"{folder}: holds something else than a model: choose another name")
        spec.save(path)
        return
    there = ModelSpec.load_json(path)
    if there != spec:
        raise TrainingError(
            f"{folder}: holds a model trained with {_difference(there, spec)}: choose another "
            "name, or replace it"
        )


def _is_of(path, spec):
    try:
        return ModelSpec.load_json(path) == spec
    except DefinitionError:  # absent or damaged: it is to be replaced anyway
        return False


def _difference(there, spec):
    if there.captures != spec.captures:
        return "other captures"
    differing = [
        f"{name} {getattr(there.options, name)} instead of {getattr(spec.options, name)}"
        for name in TrainingOptions.model_fields
        if getattr(there.options, name) != getattr(spec.options, name)
    ]
    if there.engine != spec.engine:
        differing.append(f"engine {there.engine} instead of {spec.engine}")
    return ", ".join(differing) or f"version {there.software_version} of this program"


def _fingerprint(capture):
    digest = hashlib.sha256(capture.plan.model_dump_json().encode())
    for signal in (capture.stimulus, capture.response):
        digest.update(np.ascontiguousarray(signal, np.float32))
    return digest.hexdigest()


def _write_history(path, history):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HistoryRow.model_fields)
    writer.writerows(row.model_dump().values() for row in history)
    with replacing(path) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")


def _store(path, arrays, facts):
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as beside:
        save_file(contiguous, beside, metadata={"facts": json.dumps(facts)})


def _load(path):
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads(file.metadata()["facts"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        raise TrainingError(f"{path}: is damaged: remove the folder and train again") from None


def _load_facts(path):
    if not path.is_file():
        raise TrainingError(f"{path}: is missing: train again")
    return _load(path)[1]

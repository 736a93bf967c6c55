"""The stages of `ampscope profile`, in order, each skipped when its result stands.

    capture   play and record, or import a pair          capture.json, stimulus.wav, response.wav
    check     is it whole, is it the device              findings.json
    align     delay, polarity, drift                     alignment.json
    measure   all that the signal allows                 analysis.json
    forecast  the error that no model can get below
    train     a neural model                             models/<architecture>/
    export    for the players                            models/<architecture>/exports/*.nam
    verify    the exported file against the device       models/<architecture>/verification.json
    report    all of it to look at                       report.html

A result stands when it was made from what is there now: audio by its hash, a model by the
capture and the options it was trained with, an export by the weights it holds.
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from profiler.analysis.analysis import Analysis, analyse, stored_analysis
from profiler.analysis.forecast import forecast
from profiler.analysis.settling import settling
from profiler.capture.alignment import AlignedCapture, load_aligned
from profiler.capture.checks.verdict import Verdict, broken_places, refuse_failed, verdict
from profiler.capture.folder import CaptureFolder
from profiler.capture.importing import import_pair
from profiler.capture.take import is_under_way, take
from profiler.capture.watchdog import watched
from profiler.errors import CaptureError, ExportError, TrainingError
from profiler.export import nam
from profiler.model.architectures import (
    ArchitectureName,
    architecture,
    architecture_for,
    shortfall,
)
from profiler.model.training import (
    TrainedModel,
    TrainingOptions,
    TrainingProgress,
    finished_model,
    train,
    training_engine,
)
from profiler.report.gallery import Measured
from profiler.report.page import write_report
from profiler.rig.faults import FaultName
from profiler.rig.interface import Interface
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan
from profiler.verify.verification import Verification, verify

EXPORTS = "exports"  # of a model folder


class Listener(Protocol):
    """Who is told how far the stages are."""

    def started(self, stage: str) -> None: ...

    def progress(self, stage: str, fraction: float, detail: str) -> None: ...

    def course(self, at: TrainingProgress) -> None: ...

    def finished(self, stage: str, detail: str, *, skipped: bool = False) -> None: ...


@dataclass(frozen=True)
class Profile:
    """What `profile` leaves behind."""

    folder: CaptureFolder
    verdict: Verdict
    capture: AlignedCapture
    analysis: Analysis
    model: TrainedModel
    nam_path: Path
    verification: Verification
    report_path: Path


def profile(
    rig: Rig,
    plan: SignalPlan | None,
    path: Path,
    training: TrainingOptions,
    *,
    connect: Callable[[], Interface],
    listener: Listener,
    replace: bool = False,
    passes: int = 1,
    accepted: Collection[FaultName] = (),
) -> Profile:
    """From a rig to a verified model: the stages in order.

    Parameters
    ----------
    plan : SignalPlan or None
        What is played; a file rig has its own.
    path : Path
        Folder of the capture, new or of an earlier run.
    connect : callable
        Opens the interface and confirms the sound; called only when a take is needed.
    replace : bool
        Take anew when the folder holds a capture of another rig or signal.
    passes : int
        How often the plan is played; more than once, and the passes are averaged.
    accepted : collection of str
        Findings of the check that shall not stop the work; written into the capture.

    Raises
    ------
    CheckFailed
        The take is not whole, or not of the device; nothing was trained.
    ExportError
        No player plays the architecture; nothing sounded.
    ProfilerError
        A stage failed; what the stages before it made stays, and the next run goes on from
        there.
    KeyboardInterrupt
        Ctrl-C. In training the best model so far is exported and verified first.
    """
    nam.check_playable(architecture(training.architecture))
    folder = _captured(rig, plan, Path(path), connect, listener, replace, passes, accepted)
    checked = _checked(folder, accepted, listener)
    capture = _aligned(folder, listener)
    analysis = _measured(folder, capture, listener)
    listener.finished("forecast", forecast(capture).sentence)
    training = _with_architecture(training, analysis.settling, capture, listener)
    model = _trained(folder, [capture], training, listener, replace)
    nam_path, exported_before = _exported(model, folder.record(), listener)
    verification, verified_before = _verified(nam_path, capture, model, listener, exported_before)
    if verified_before and folder.report_path.is_file():
        listener.finished("report", str(folder.report_path), skipped=True)
    else:
        listener.started("report")
        listener.finished("report", str(write_report(folder)))
    if model.interrupted:
        raise interruption(model, nam_path)
    return Profile(
        folder, checked, capture, analysis, model, nam_path, verification, folder.report_path
    )


def train_and_export(
    folders: Sequence[CaptureFolder],
    options: TrainingOptions,
    *,
    listener: Listener,
    resume: bool = False,
    replace: bool = False,
    accepted: Collection[FaultName] = (),
) -> tuple[TrainedModel, Path | None]:
    """Train on one or more captures; the model is kept in the first one's folder.

    Returns
    -------
    The model, and the `.nam`; None where no player plays the architecture.

    Raises
    ------
    CheckFailed
        A take is not whole, or not of the device, and that was not accepted.
    TrainingError
        A model is there already (without `resume` or `replace`), or the captures do not suit.
    """
    for folder in folders:
        _checked(folder, accepted, listener)
    captures = [_aligned(folder, listener) for folder in folders]
    found = _settling_of(folders[0], captures[0])
    options = _with_architecture(options, found, captures[0], listener)
    model_folder = folders[0].models_path / options.architecture
    if model_folder.exists() and not (resume or replace):
        raise TrainingError(
            f"{model_folder}: a model is there already: go on with it by --resume, or train anew "
            "with -y"
        )
    if replace and not resume:
        shutil.rmtree(model_folder, ignore_errors=True)
    model = _trained(folders[0], captures, options, listener, replace)
    try:
        nam.check_playable(model.network.config)
    except ExportError as hindrance:
        listener.finished("export", str(hindrance))
        return model, None
    nam_path, _ = _exported(model, folders[0].record(), listener)
    return model, nam_path


def train_together(
    folders: Sequence[CaptureFolder],
    options: TrainingOptions,
    smaller: Sequence[ArchitectureName],
    **how: Any,
) -> tuple[TrainedModel, Path | None, Path | None]:
    """`train_and_export` of the architecture of the options, and before it of smaller ones.

    Each has the whole time. All of them also go into one file, for a player's quality knob.

    Parameters
    ----------
    smaller : sequence of str
        Architectures, the smallest first; none, and there is one model and no such file.

    Returns
    -------
    The model of the options and its `.nam`, or of the training that was interrupted; and the file
    that holds all of them, if there is one.

    Raises
    ------
    ExportError
        No player plays one of the smaller ones; nothing was trained.
    CheckFailed, TrainingError
        As `train_and_export`.
    """
    for name in smaller:
        nam.check_playable(architecture(name))
    networks = []
    for name in smaller:
        own = options.model_copy(update={"architecture": name})
        model, nam_path = train_and_export(folders, own, **how)
        if model.interrupted:
            return model, nam_path, None
        networks.append(model.network)
    model, nam_path = train_and_export(folders, options, **how)
    if not networks or nam_path is None:
        return model, nam_path, None
    record = folders[0].record()
    names = "+".join([model.architecture, *reversed(smaller)])
    together = folders[0].models_path / f"{record.rig.name}-{names}.nam"
    nam.write_container(together, [*networks, model.network], _metadata(model, record))
    return model, nam_path, together


def exported_file(path: Path) -> Path:
    """The `.nam` that a model path means: itself, or the one that a model folder exported.

    Raises
    ------
    ExportError
        A folder that holds no exported file, or more than one.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = sorted((path / EXPORTS).glob("*.nam"))
    if len(found) != 1:
        raise ExportError(
            f"{path}: holds {len(found)} exported .nam files, expected one: name the file"
        )
    return found[0]


def export_model(
    path: Path,
    output: Path,
    *,
    name: str | None = None,
    modeled_by: str | None = None,
    smaller: Sequence[Path] = (),
    replace: bool = False,
) -> nam.Metadata:
    """Write the model that a path means as a `.nam` of the user's own naming.

    Parameters
    ----------
    smaller : sequence of paths
        Models to be put into the same file for a player's quality knob, the smallest first.

    Raises
    ------
    ExportError
        The output is there (without `replace`), or the model cannot be read.
    """
    if output.exists() and not replace:
        raise ExportError(f"{output}: is already there: choose another -o, or replace it with -y")
    loaded = nam.load_model(path)
    if loaded.trained is None:
        known = {key: loaded.metadata.get(key) for key in nam.Metadata.model_fields}
        metadata = nam.Metadata.from_data(known, path)
    else:
        capture = CaptureFolder(loaded.path.resolve().parents[1])
        record = capture.record() if capture.record_path.is_file() else None
        metadata = nam.metadata_of(
            loaded.network,
            chain=record.rig.chain if record else None,
            levels=record.levels if record else None,
            name=_title(record.rig) if record else None,
            validation_esr=loaded.trained.validation_esr,
        )
    given = {"name": name, "modeled_by": modeled_by}
    metadata = metadata.model_copy(update={k: v for k, v in given.items() if v is not None})
    if smaller:
        networks = [nam.load_model(each).network for each in smaller]
        nam.write_container(output, [*networks, loaded.network], metadata)
    else:
        nam.write(output, loaded.network, metadata)
    return metadata


def interruption(model: TrainedModel, nam_path: Path | None) -> KeyboardInterrupt:
    """What Ctrl-C in a training becomes, once the best so far is safe."""
    interrupt = KeyboardInterrupt()
    interrupt.add_note(
        f"the best model so far (validation ESR {model.validation_esr:.4f}) is in "
        f"{nam_path or model.folder}; the "
        "same command goes on with the training"
    )
    return interrupt


def _captured(rig, plan, path, connect, listener, replace, passes, accepted):
    folder = CaptureFolder(path)
    folder.finish()
    if folder.record_path.is_file():
        record = folder.record()
        difference = _difference(record, rig, plan, passes)
        if difference is None and not (plan and is_under_way(rig, plan, path)):
            folder.verify_unchanged()
            seconds = record.plan.seconds
            listener.finished("capture", f"{seconds:.0f} s of {record.plan.name}", skipped=True)
            return folder
        if difference is not None and not replace:
            raise CaptureError(
                f"{path}: holds a capture of {difference}: choose another folder with -o, or "
                "take it anew with -y"
            )
    if rig.interface.driver == "file":
        listener.started("capture")
        import_pair(rig, path, replace=replace, accepted=accepted)
        repairs = folder.record().repairs
        listener.finished("capture", "; ".join(repairs) or "imported as it is")
        return folder
    interface = connect()  # asks first, where there is something to hear
    listener.started("capture")
    take(
        rig,
        plan,
        path,
        interface,
        replace=replace,
        passes=passes,
        broken=broken_places,
        watch=watched(rig),
        on_progress=lambda at: listener.progress(
            "capture",
            at.seconds / at.total_seconds,
            f"return {at.return_highest_dbfs:.1f} dBFS highest, "
            f"{at.total_seconds - at.seconds:.0f} s of sound left",
        ),
    )
    detail = f"{plan.bracketed().seconds:.0f} s of {plan.name}"
    average = folder.record().average
    listener.finished("capture", f"{detail}, {average.words()}" if average else detail)
    return folder


def _difference(record, rig, plan, passes):
    """What of a capture is not what is asked for now, in words; None when all agrees."""
    if record.rig != rig:
        named = record.rig.name
        return f"rig {named}" if named != rig.name else f"rig {named} as it was set before"
    if plan is not None and record.plan != plan.bracketed():
        return f"signal {record.plan.name} (version {record.plan.version}) at another level or rate"
    played = record.average.passes if record.average else 1
    if plan is not None and played < passes:
        return f"{played} of {passes} passes"
    return None


def _checked(folder, accepted, listener):
    listener.started("check")
    found = verdict(folder, accepted)
    refuse_failed(found)
    listener.finished("check", _checked_words(found))
    return found


def _checked_words(found):
    seen = [finding.name for finding in found.findings if finding.severity != "note"]
    return f"passed, but see {', '.join(seen)}" if seen else "passed"


def _aligned(folder, listener):
    there = folder.alignment_path.is_file()
    if not there:
        listener.started("align")
    capture = load_aligned(folder)
    found = capture.alignment
    listener.finished(
        "align",
        f"{found.delay_samples:.3f} ±{found.sigma_samples:.2g} samples ({found.reference})",
        skipped=there,
    )
    return capture


def measured(folder: CaptureFolder, listener: Listener) -> Measured:
    """A capture and all that can be measured on it; `analysis.json` is written where it is missing.

    Raises
    ------
    ProfilerError
        The capture cannot be read or aligned.
    """
    capture = _aligned(folder, listener)
    analysis = _measured(folder, capture, listener)
    return Measured(folder.record().rig.name, capture, analysis)


def _measured(folder, capture, listener):
    recorded = folder.record().response_sha256
    there = stored_analysis(folder, capture)
    if there is not None:
        listener.finished("measure", _measured_words(there), skipped=True)
        return there
    listener.started("measure")
    analysis = analyse(
        capture,
        recorded,
        on_progress=lambda fraction, name: listener.progress("measure", fraction, name),
    )
    analysis.save(folder.analysis_path)
    listener.finished("measure", _measured_words(analysis))
    return analysis


def _measured_words(analysis):
    if analysis.settling is None or analysis.settling.receptive_field_samples is None:
        return "no receptive field to recommend"
    return f"receptive field of {analysis.settling.receptive_field_samples} samples recommended"


def _trained(folder, captures, options, listener, replace):
    model_folder = folder.models_path / options.architecture
    model = finished_model(model_folder, captures, options)
    if model is not None:
        listener.finished("train", _trained_words(model), skipped=True)
        return model
    engine = training_engine(model_folder, options)
    listener.finished("engine", ", ".join(filter(None, engine)))
    listener.started("train")

    def tell(at):
        listener.course(at)
        listener.progress("train", at.fraction, _training_words(at))

    model = train(captures, model_folder, options, replace=replace, on_progress=tell)
    listener.finished("train", _trained_words(model))
    return model


def _settling_of(folder, capture):
    """What is known of the settling of a capture; None where nothing in it tells."""
    there = stored_analysis(folder, capture)
    if there is not None:
        return there.settling
    try:
        return settling(capture)
    except CaptureError:
        return None


def _with_architecture(options, found, capture, listener):
    """Options with an architecture: the one asked for, or by the recommended receptive field."""
    field = found and found.receptive_field_samples
    if "architecture" not in options.model_fields_set:
        options = options.model_copy(update={"architecture": architecture_for(field)})
    short = shortfall(options.architecture, field, capture.sample_rate)
    if short is not None:
        listener.finished("architecture", short)
    return options


def _training_words(at):
    if at.learning_rate is None:
        return "looking for the learning rate"
    words = [] if at.best_esr is None else [f"ESR {at.best_esr:.4f}"]
    if at.floor_esr:
        words.append(f"floor {at.floor_esr:.2g}")
    words.append(f"{at.samples_per_second / 1e3:.0f}k samples/s")
    if at.eta_seconds is not None:
        words.append(f"{at.eta_seconds:.0f} s left")
    if at.rollbacks:
        words.append(f"taken back {at.rollbacks} times")
    return ", ".join(words)


def _trained_words(model):
    stopped = " (interrupted)" if model.interrupted else ""
    return f"{model.architecture}, validation ESR {model.validation_esr:.4f}{stopped}"


def _exported(model, record, listener):
    """The `.nam` of a model, and whether it was there."""
    network = model.network
    path = model.folder / EXPORTS / f"{record.rig.name}-{model.architecture}.nam"
    if path.is_file() and np.array_equal(nam.read(path).network.weights, network.weights):
        listener.finished("export", str(path), skipped=True)
        return path, True
    listener.started("export")
    nam.write(path, network, _metadata(model, record))
    listener.finished("export", str(path))
    return path, False


def _metadata(model, record):
    return nam.metadata_of(
        model.network,
        chain=record.rig.chain,
        levels=record.levels,
        name=_title(record.rig),
        validation_esr=model.validation_esr,
    )


def _verified(nam_path, capture, model, listener, exported_before):
    """The verification of an exported file, and whether it was there."""
    path = model.folder / "verification.json"
    if exported_before and path.is_file():
        verification = Verification.load_json(path)
        listener.finished("verify", _verified_words(verification), skipped=True)
        return verification, True
    listener.started("verify")
    verification = verify(nam_path, capture, model)
    verification.save(path)
    listener.finished("verify", _verified_words(verification))
    return verification, False


def _verified_words(verification):
    return f"held-out ESR {verification.esr:.4f}, {'passed' if verification.passed else 'FAILED'}"


def _title(rig):
    return " ".join((rig.chain.make, rig.chain.model)).strip() or rig.name

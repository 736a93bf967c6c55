"""What a report says: plain words and figures, gathered from a capture folder.

A part that is not in the folder yet (no model, no burst in the stimulus) becomes a note, so
that a report can be made at any time.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import profiler
from profiler.analysis.analysis import analyse, stored_analysis
from profiler.analysis.error import esr_words
from profiler.capture.alignment import AlignedCapture, load_aligned
from profiler.capture.checks.verdict import verdict
from profiler.capture.folder import CaptureFolder, CaptureRecord
from profiler.errors import ProfilerError
from profiler.export.nam import load_model
from profiler.model.streaming import render
from profiler.model.training import TrainedModel, load_trained
from profiler.report.figures.model import Point, overlay, training
from profiler.report.gallery import Measured, Picture, gallery
from profiler.report.measures import measured_facts
from profiler.rig.rig import Rig
from profiler.verify.verification import Verification


@dataclass(frozen=True)
class ReportContents:
    """All that the page shows, as plain text and SVG."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]  # name and value; a value may have several lines
    notes: tuple[str, ...] = ()  # warnings, and what is missing
    pictures: tuple[Picture, ...] = ()
    files: tuple[str, ...] = ()  # relative to the page
    made_by: str = f"Made by Ampscope {profiler.__version__}."


@dataclass(frozen=True)
class _Model:
    """A model of the capture, as far as it has come."""

    name: str
    trained: TrainedModel
    nam: Path | None
    verification: Verification | None


@dataclass
class _Gathered:
    """What a report is put together in."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def gather(folder: CaptureFolder) -> ReportContents:
    """Read a capture folder, its analysis and its models.

    Raises
    ------
    ProfilerError
        The capture's own record cannot be read.
    """
    record = folder.record()
    found = _Gathered()
    found.facts += circumstances(record)
    found.notes += record.repairs
    found.notes += driver_notes(record)
    found.notes += check_notes(folder)
    models = _models(folder, found.notes)
    best = min(models, key=_rank, default=None)
    try:
        capture = load_aligned(folder)
    except ProfilerError as error:
        found.notes.append(f"Not aligned: {error}")
    else:
        analysis = stored_analysis(folder, capture) or analyse(capture, record.response_sha256)
        found.facts += alignment_facts(capture)
        found.facts += measured_facts(analysis)
        found.notes += analysis.warnings
        _add_overlay(found, capture, best)
        found.pictures += gallery([Measured(record.rig.name, capture, analysis)])
    if not models:
        found.notes.append(f"No model yet: ampscope train {folder.path}")
    for model in models:
        found.facts += model_facts(model.name, model.trained, model.verification)
    _add_training(found, best)
    return ReportContents(
        title=record.rig.name,
        subtitle=record.rig.description,
        facts=tuple(found.facts),
        notes=tuple(found.notes),
        pictures=tuple(found.pictures),
        files=tuple(_files(folder)),
    )


def check_notes(folder: CaptureFolder) -> list[str]:
    """What the check of the take found, and what of it the user accepted."""
    try:
        checked = verdict(folder)
    except ProfilerError as error:
        return [f"Not checked: {error}"]
    return [
        f"{finding.name}{' (accepted)' if finding.name in checked.accepted else ''}: "
        f"{finding.sentence()}."
        for finding in checked.findings
    ]


def circumstances(record: CaptureRecord) -> list[tuple[str, str]]:
    """Chain, signal, date and interface of a take, in words."""
    plan, stream = record.plan, record.stream
    gain = f", at {plan.gain_db:+g} dB" if plan.gain_db else ""
    return [
        ("chain", chain_words(record.rig)),
        (
            "signal",
            f"{plan.name}, version {plan.version}: {plan.seconds:.1f} s at "
            f"{plan.sample_rate} Hz{gain}, peak {plan.peak_dbfs:.1f} dBFS",
        ),
        ("date", f"{record.created_utc:%Y-%m-%d %H:%M} UTC"),
        ("interface", f"{stream.device} ({stream.driver})"),
    ]


def chain_words(rig: Rig) -> str:
    """The device and how it was set, a line each."""
    chain = rig.chain
    device = " ".join(filter(None, (chain.make, chain.model))) or "not said"
    lines = [f"{device} ({chain.gear_type.replace('_', ' ')})"]
    if chain.controls:
        settings = (
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in chain.controls.items()
        )
        lines.append(", ".join(settings))
    if chain.load:
        lines.append(f"into {chain.load}")
    return "\n".join(lines)


def driver_notes(record: CaptureRecord) -> list[str]:
    """What the driver complained of, if anything."""
    flagged = record.stream.flagged
    if not flagged:
        return list(record.stream.notes)
    frame, flags = flagged[0]
    seconds = frame / record.stream.sample_rate
    first = f"the first at {seconds:.2f} s ({flags})"
    return [f"The driver flagged {len(flagged)} blocks, {first}.", *record.stream.notes]


def alignment_facts(capture: AlignedCapture) -> list[tuple[str, str]]:
    """Latency, polarity and drift in words."""
    alignment = capture.alignment
    milliseconds = 1e3 * alignment.delay_samples / capture.sample_rate
    facts = [
        (
            "latency",
            f"{alignment.delay_samples:.3f} ±{alignment.sigma_samples:.2g} samples "
            f"({milliseconds:.2f} ms), by {alignment.reference}",
        ),
        ("polarity", "as sent" if alignment.polarity == 1 else "inverted"),
    ]
    if alignment.drift_ppm is not None:
        drift = round(alignment.drift_ppm, 3) + 0.0  # no minus before a zero
        facts.append(("clock drift", f"{drift:+.3f} ppm"))
    return facts


def model_facts(
    name: str, trained: TrainedModel, verification: Verification | None
) -> list[tuple[str, str]]:
    """How good a model is, and how good it could be."""
    spec = trained.spec
    about = (
        f"{spec.parameter_count} parameters, sees {spec.receptive_field_samples} samples, "
        f"trained {trained.seconds:.0f} s, validation ESR {trained.validation_esr:.4f}"
    )
    if verification is None:
        return [(f"model {name}", f"{about}\nnot verified yet")]
    lines = [
        f"ESR {verification.esr:.4f} ({esr_words(verification.esr)}), a null of "
        f"{10 * np.log10(verification.esr):.1f} dB"
        if verification.esr > 0.0
        else "ESR 0, no difference at all",
        "verified" if verification.passed else "did NOT pass verification",
        about,
    ]
    if verification.ratio_to_floor is not None:
        lines[0] += f", {_ratio(verification.ratio_to_floor)} times the floor"
    facts = [(f"model {name}", "\n".join(lines))]
    if verification.replicate_esr is not None:
        facts.insert(0, ("replicate ESR", f"{verification.replicate_esr:.2g}"))
    return facts


def _ratio(ratio):
    return f"{ratio:.1f}" if ratio < 100.0 else f"{ratio:,.0f}"


def _models(folder, notes):
    models = []
    for spec in sorted(folder.models_path.glob("*/spec.json")):
        name = spec.parent.name
        try:
            trained = load_trained(spec.parent)
            verification_path = spec.parent / "verification.json"
            verification = (
                Verification.load_json(verification_path) if verification_path.is_file() else None
            )
        except ProfilerError as error:
            notes.append(f"Model {name}: {error}")
            continue
        exports = sorted((spec.parent / "exports").glob("*.nam"), key=lambda p: p.stat().st_mtime)
        models.append(_Model(name, trained, exports[-1] if exports else None, verification))
    return models


def _rank(model):
    """Verified models first, then by how close they come."""
    if model.verification is not None:
        return (0, model.verification.esr)
    return (1, model.trained.validation_esr)


def _held_out(capture):
    """The segment on which the model is shown: played for the test, or else for validation."""
    segments = [
        placed
        for use in ("test", "validate")
        for placed in capture.plan.used_for(use)
        if np.any(capture.response[placed.slice])
    ]
    return segments[0] if segments else None


def _add_overlay(found, capture, model):
    passage = _held_out(capture)
    if model is None or passage is None:
        return
    network = load_model(model.nam or model.trained.folder).network
    # what came before reaches into the passage as far as the network remembers
    begin = max(0, passage.start - network.config.receptive_field)
    estimate = render(network, capture.stimulus[begin : passage.stop])[passage.start - begin :]
    device = capture.response[passage.slice]
    found.pictures.append(
        Picture(
            f"Device and model {model.name}",
            overlay(device, estimate, capture.sample_rate),
            f"Waveforms of the device and of the model on the segment {passage.segment.name}, "
            "their difference, and the levels of both.",
            f"Segment “{passage.segment.name}”, which was not trained on: "
            "where the device is loudest, and the whole of it.",
        )
    )


def _add_training(found, model):
    if model is None or not model.trained.history:
        return
    points = [Point(row.seconds, row.validation_esr) for row in model.trained.history]
    floor = model.verification.floor_esr if model.verification is not None else None
    found.pictures.append(
        Picture(
            f"Training of {model.name}",
            training(points, floor),
            f"Validation ESR over {points[-1].seconds:.0f} seconds of training, down to "
            f"{min(point.esr for point in points):.4f}.",
            "The floor is half the replicate ESR: two passes of the device differ by their "
            "noise, and no model comes closer."
            + ("" if floor is None else f" Here it is {floor:.2g}."),
        )
    )


def _files(folder):
    for pattern in ("capture.json", "*.wav", "alignment.json", "analysis.json", "models/*/*.json"):
        yield from sorted(_relative(folder, pattern))
    yield from sorted(_relative(folder, "models/*/exports/*.nam"))


def _relative(folder, pattern):
    return (str(path.relative_to(folder.path)) for path in folder.path.glob(pattern))

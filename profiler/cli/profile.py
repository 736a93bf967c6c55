"""`ampscope profile`: all of it, in order."""

from pathlib import Path

import click

from profiler.cli import console, options, portrait
from profiler.cli.capture import (
    alignment_words,
    connected,
    default_folder,
    polarity_words,
    rehearse,
)


@click.command()
@click.argument("rig_name", metavar="RIG")
@options.signal
@options.folder
@options.level
@options.average
@options.training
@options.accept
@options.yes
@options.no_input
@options.dry_run
@options.json_output
def command(
    rig_name, signal_name, output, level, passes, yes, no_input, dry_run, as_json, **chosen
):
    """From a rig to a playable model: capture, check, measure, train, export, verify, report.

    The same command again goes on where the last one stopped.
    """
    from profiler.capture.safety import announce
    from profiler.pipeline import profile
    from profiler.rig.rig import load_rig

    accepted = chosen.pop("accepted")
    rig = load_rig(rig_name)
    output = output or default_folder(rig)
    if rig.interface.driver == "file":
        plan = announcement = None
    else:
        plan = options.planned(signal_name, rig.interface.sample_rate, level, rig=rig).bracketed()
        announcement = announce(rig, plan)
    if dry_run:
        if plan is None:
            raise click.UsageError(f"{rig.name} is a pair of files: nothing would sound")
        rehearse(plan, announcement, output)
        return

    with console.StageProgress() as progress:

        def interface():
            with progress.paused():
                return connected(rig, plan, announcement, yes=yes, no_input=no_input)

        result = profile(
            rig,
            plan,
            Path(output),
            options.training_options(chosen),
            connect=interface,
            listener=progress,
            replace=yes,
            accepted=accepted,
            passes=passes,
        )
    for finding in result.verdict.findings:
        if finding.severity != "note":
            console.warn(f"{finding.name}: {finding.sentence()}")
    for warning in result.analysis.warnings:
        console.warn(warning)
    facts = _facts(result)
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.profile/1",
                "folder": str(result.folder.path),
                "nam": str(result.nam_path),
                "report": str(result.report_path),
                "check": result.verdict.findings_only().model_dump(mode="json"),
                "alignment": result.capture.alignment.model_dump(mode="json"),
                "analysis": result.analysis.model_dump(mode="json"),
                "network": portrait.network_json(result.model.network),
                "verification": result.verification.model_dump(mode="json"),
            }
        )
    else:
        console.show_facts(facts)
    if not result.verification.passed:
        raise click.exceptions.Exit(console.CHECK_FAILED_EXIT)


def _facts(result):
    alignment, analysis = result.capture.alignment, result.analysis
    verification = result.verification
    rate = result.capture.sample_rate
    latency_ms = 1e3 * alignment.delay_samples / rate
    yield "latency", f"{alignment_words(alignment)}, {latency_ms:.2f} ms"
    yield "polarity", polarity_words(alignment)
    floor = analysis.noise and analysis.noise.rms_dbfs
    yield "noise floor", "unknown" if floor is None else f"{floor:.1f} dBFS RMS"
    if analysis.settling is not None:
        for burst in analysis.settling.bursts:
            settled = burst.settling_ms["-40"]
            words = "not reached" if settled is None else f"{settled:.0f} ms"
            yield f"settling at {burst.level_dbfs:g} dBFS", f"{words} to -40 dB"
    replicate = verification.replicate_esr
    yield "replicate ESR", "unknown" if replicate is None else f"{replicate:.2g}"
    ratio = verification.ratio_to_floor
    against = "" if ratio is None else f", {ratio:.1f} times the floor"
    yield "model ESR", f"{verification.esr:.4f}{against}"
    yield "verified", "yes" if verification.passed else "NO"
    yield from portrait.network_facts(result.model.architecture, result.model.network)
    yield "model", str(result.nam_path)
    yield "report", str(result.report_path)

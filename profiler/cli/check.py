"""`ampscope check`: the findings on a capture."""

from pathlib import Path

import click

from profiler.cli import console, options

COLOURS = {"stop": "red", "warn": "yellow", "note": "cyan"}


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@options.accept
@options.json_output
def command(capture, accepted, as_json):
    """Is the take in CAPTURE whole, is it the device, and what spoilt it?

    The first cause comes first. Exit 3 when a finding stops the work.
    """
    from profiler.analysis.forecast import forecast
    from profiler.capture.alignment import load_aligned
    from profiler.capture.checks.verdict import verdict
    from profiler.capture.folder import CaptureFolder

    folder = CaptureFolder.existing(capture)
    found = verdict(folder, accepted)
    if as_json:
        console.show_json(found.findings_only())
    else:
        show_findings(found)
        if found.passed:
            console.show(forecast(load_aligned(folder)).sentence)
    if not found.passed:
        raise click.exceptions.Exit(console.CHECK_FAILED_EXIT)


def show_findings(found) -> None:
    """The findings in words, and what they come to."""
    for finding in found.findings:
        accepted = " (accepted)" if finding.name in found.accepted else ""
        console.show_finding(
            finding.severity,
            COLOURS[finding.severity],
            f"{finding.name}{accepted}",
            *_words(finding),
        )
    if not found.findings:
        console.show("passed: nothing was found")
    elif found.passed:
        console.show("passed")
    else:
        console.show("FAILED: the first of these is the cause")


def _words(finding):
    place = "" if finding.at_seconds is None else f"at {finding.at_seconds:.2f} s: "
    against = ""
    if finding.measured is not None:
        limit = "" if finding.limit is None else f", limit {finding.limit:.4g}"
        against = f" ({finding.measured:.4g} {finding.unit}{limit})"
    return f"{place}{finding.cause}{against}", finding.action

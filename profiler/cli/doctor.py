"""`ampscope doctor`: this machine, and the interface proven by a loop."""

import sys

import click

from profiler.cli import console, options


@click.command()
@click.argument("rig_name", metavar="[RIG]", required=False)
@click.option("--loop", "with_loop", is_flag=True, help="Prove RIG's interface through a cable.")
@options.yes
@options.no_input
@options.json_output
def command(rig_name, with_loop, yes, no_input, as_json):
    """Look at this machine; with --loop, prove the interface of RIG.

    --loop plays half a minute through a cable from the send straight to the return, and keeps
    what it measures for the checks of later takes.
    """
    from profiler import doctor
    from profiler.rig.rig import load_rig

    if with_loop and rig_name is None:
        raise click.UsageError("--loop needs a RIG, whose interface is to be proven")
    rig = load_rig(rig_name) if rig_name else None
    if with_loop and rig.interface.driver == "file":
        raise click.UsageError(f"{rig_name} is a file rig: it has no interface to prove")
    console.talk("looking at this machine (a few seconds of training)")
    machine = doctor.examine_machine(rig, loop_follows=with_loop)
    looped = prove(rig, yes=yes, no_input=no_input) if with_loop else None
    report = doctor.report(machine, looped)
    if as_json:
        console.show_json(report)
    else:
        show(report)
    if not report.passed:
        sys.exit(console.CHECK_FAILED_EXIT)


def prove(rig, *, yes, no_input):
    """Confirm the sound, play the loop, and keep the fingerprint of an interface without fault."""
    from profiler import doctor
    from profiler.capture import loop
    from profiler.cli.capture import connected

    rig = doctor.cabled(rig)
    console.talk("expected: a cable from the send straight to the return, no amp between")
    announcement = doctor.announce_loop(rig)
    interface = connected(rig, doctor.loop_plan(rig), announcement, yes=yes, no_input=no_input)
    with console.StageProgress() as progress:
        progress.started("loop")
        looped = doctor.examine_loop(
            rig,
            interface,
            on_progress=lambda fraction, detail: progress.progress("loop", fraction, detail),
        )
        progress.finished("loop", f"{looped.fingerprint.delay_samples:.3f} samples round trip")
    if any(finding.severity == "stop" for finding in looped.findings):
        console.talk("the fingerprint is not kept: mend what was found, and measure again")
    else:
        console.talk(f"kept in {loop.store(rig, looped.fingerprint)}")
    return looped


def show(report):
    """The report as tables."""
    items = [*report.machine.items, *(report.loop.items if report.loop else ())]
    console.show_table(
        ("", "", "found"),
        ((i.name, i.status, f"{i.found}: {i.reason}" if i.reason else i.found) for i in items),
    )
    if report.machine.training:
        console.show("")
        console.show_table(
            ("model", "as good as in docs/models.md in", "steps in --minutes 1.5"),
            (
                (f.architecture, f"{f.minutes:.1f} min", str(f.steps_in_default_time))
                for f in report.machine.training
            ),
        )
    if report.loop is not None:
        console.show("")
        console.show_facts(loop_facts(report.loop.fingerprint))
        console.show("")
        console.show_table(
            ("tone", "played at", "gain", "THD", "noise under it"),
            (
                (
                    f"{p.frequency:g} Hz",
                    f"{p.level_dbfs:.1f} dBFS",
                    f"{p.gain_db:+.3f} dB",
                    thd_words(p),
                    noise_words(p.noise_rms_dbfs),
                )
                for p in sorted(
                    report.loop.fingerprint.levels, key=lambda p: (p.frequency, p.level_dbfs)
                )
            ),
        )
        for finding in report.loop.findings:
            console.show(f"{finding.severity}: {finding.name}: {finding.sentence()}")


def loop_facts(f):
    """A fingerprint in words."""
    milliseconds = 1e3 * f.delay_samples / f.sample_rate
    flat = [p.gain_db for p in f.response if p.frequency <= 18_000.0]
    yield "round trip", f"{f.delay_samples:.3f} samples ({milliseconds:.2f} ms)"
    if f.drift_ppm is not None:
        yield "drift", f"{f.drift_ppm:+.3f} ppm"
    yield "gain", f"{f.gain_db:+.2f} dB, repeats within {f.gain_repeats_within_db:.4f} dB"
    yield "response", f"{min(flat):+.2f} to {max(flat):+.2f} dB, 31.5 Hz to 18 kHz"
    yield "band ends", f"{f.band_edge_hz:.0f} Hz" if f.band_edge_hz else "beyond the sweep"
    yield "gain at the top", f"{f.gain_change_at_top_db:+.4f} dB against 6 dB lower"
    yield "noise", noise_words(f.noise_rms_dbfs) + " RMS"
    yield "effective bits", f"{f.effective_bits:.1f}"
    for words in f.not_reached:
        yield "not reached", words


def noise_words(level_dbfs):
    return "none at all" if level_dbfs is None else f"{level_dbfs:.1f} dBFS"


def thd_words(point):
    """Never below what noise alone would show."""
    if point.thd_percent < 2 * point.thd_floor_percent:
        return f"< {2 * point.thd_floor_percent:.4f} %"
    return f"{point.thd_percent:.4f} %"

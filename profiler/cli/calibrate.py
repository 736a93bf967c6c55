"""`ampscope calibrate`: the interface measured by itself, with a loop cable and a voltmeter."""

import click

from profiler.cli import console, options
from profiler.cli.capture import connected
from profiler.units import dbu_to_volts, parse_level

METER_HINT = (
    "expected: a voltmeter (AC, its mV range) across the send as the amp sees it: at the line or "
    "reamp jack with the cable to the amp plugged in, the amp on standby; never at a speaker jack"
)
CABLE_HINT = "expected: a cable from the send straight to the return, no amp between"

nominal = click.option(
    "--nominal",
    type=options.LevelType(),
    help="Full scale as the data sheet has it, such as 16dBu: no sound is made.",
)
gain_position = click.option(
    "--gain-position",
    help="Where the knob of the input's gain stands.  [default: gain_position of the rig file]",
)
loudest = click.option(
    "--level",
    type=options.LevelType(),
    default="-12dBFS",
    show_default=True,
    help="Peak of the loudest tone that is calibrated by.",
)


@click.group("calibrate")
def command():
    """Measure the interface: latency, and volts of send and return."""


@command.command("latency")
@click.argument("rig_name", metavar="RIG")
@click.option(
    "--repeats",
    type=click.IntRange(2, 20),
    default=3,
    show_default=True,
    help="How often it is measured.",
)
@options.level
@options.yes
@options.no_input
@options.json_output
def latency(rig_name, repeats, level, yes, no_input, as_json):
    """Round-trip latency: a cable from the send straight to the return."""
    from profiler.capture.calibration import measure_latency, store
    from profiler.capture.calibration.simulated import looped
    from profiler.capture.safety import announce

    rig = _rig(rig_name)
    plan = options.planned("latency", rig.interface.sample_rate, level, rig=rig)
    console.talk(CABLE_HINT)
    announcement = announce(rig, plan.bracketed())
    interface = connected(looped(rig), plan, announcement, yes=yes, no_input=no_input)
    with console.StageProgress() as progress:
        progress.started("latency")
        calibration = measure_latency(
            rig,
            plan,
            interface,
            repeats=repeats,
            on_repeat=lambda index, delay: progress.progress(
                "latency", (index + 1) / repeats, f"{delay:.3f} samples"
            ),
        )
        progress.finished("latency", f"{calibration.round_trip_samples:.3f} samples")
    path = store(rig, calibration)
    _show(calibration, (*_latency_facts(calibration, rig), ("kept in", str(path))), as_json)


@command.command("send")
@click.argument("rig_name", metavar="RIG")
@nominal
@loudest
@click.option(
    "--seconds",
    type=click.FloatRange(3.0, 60.0),
    default=8.0,
    show_default=True,
    help="Of each tone.",
)
@options.yes
@options.no_input
@options.json_output
def send(rig_name, nominal, level, seconds, yes, no_input, as_json):
    """Volts of the send: a 200 Hz tone at three levels, and a voltmeter."""
    from profiler.capture.calibration import measure_send, nominal_send, store_send
    from profiler.capture.calibration.simulated import simulated_meter
    from profiler.capture.calibration.tone import levels, tone_plan
    from profiler.capture.safety import announce
    from profiler.rig.connect import connect

    rig = _rig(rig_name)
    if nominal is not None:
        calibration = nominal_send(rig, _voltage(nominal))
    else:
        simulated = rig.interface.driver == "simulated"
        if no_input and not simulated:
            raise click.UsageError(
                "--no-input: somebody has to read the meter; --nominal takes a data sheet's level"
            )
        loudest_dbfs = options.peak_dbfs(level, rig)
        console.talk(METER_HINT)
        console.talk("three tones of 200 Hz, the quietest first")
        highest_dbfs = levels(rig.maximum_send_dbfs, loudest_dbfs)[-1]
        plan = tone_plan(highest_dbfs, seconds, rig.interface.sample_rate)
        # a ceiling in dBu cannot be held before the send is calibrated: that in dBFS is
        unknown = rig.model_copy(update={"maximum_send_dbu": None})
        console.confirm_sound(announce(unknown, plan), yes=yes, no_input=no_input)
        calibration = measure_send(
            rig,
            connect(rig),
            _told(simulated_meter(rig)) if simulated else _asked,
            loudest_dbfs=loudest_dbfs,
            seconds=seconds,
            on_tone=lambda at: console.talk(f"200 Hz at {at:.4g} dBFS for {seconds:g} s: read now"),
        )
    path = store_send(rig, calibration)
    _show(calibration, (*_send_facts(calibration), ("kept in", str(path))), as_json)


@command.command("return")
@click.argument("rig_name", metavar="RIG")
@gain_position
@nominal
@loudest
@options.yes
@options.no_input
@options.json_output
def return_(rig_name, gain_position, nominal, level, yes, no_input, as_json):
    """Volts of the return and where it clips: a calibrated send, and a cable from it."""
    from profiler.capture.calibration import (
        measure_return,
        nominal_return,
        recall_send,
        store_return,
    )
    from profiler.capture.calibration.returned import TONE_SECONDS
    from profiler.capture.calibration.simulated import looped
    from profiler.capture.calibration.tone import tone_plan
    from profiler.capture.safety import announce, ceiling_dbfs

    rig = _rig(rig_name)
    if nominal is not None:
        calibration = nominal_return(rig, _voltage(nominal), gain_position=gain_position)
    else:
        send = recall_send(rig)
        console.talk(CABLE_HINT)
        console.talk("tones of 200 Hz that rise until the return clips, at most to this:")
        highest_dbfs = ceiling_dbfs(rig, send.dbu_at_full_scale)
        plan = tone_plan(highest_dbfs, TONE_SECONDS, rig.interface.sample_rate)
        announcement = announce(rig, plan)
        calibration = measure_return(
            rig,
            connected(looped(rig), plan, announcement, yes=yes, no_input=no_input),
            send,
            gain_position=gain_position,
            loudest_dbfs=options.peak_dbfs(level, rig),
            on_tone=lambda at: console.talk(f"200 Hz at {at:.4g} dBFS"),
        )
    path = store_return(rig, calibration)
    _show(calibration, (*_return_facts(calibration), ("kept in", str(path))), as_json)


@command.command("show")
@click.argument("rig_name", metavar="RIG")
@options.json_output
def show(rig_name, as_json):
    """What is known of a rig's interface."""
    from profiler.capture.calibration import (
        recall,
        recall_send,
        stored,
        stored_returns,
        stored_send,
    )
    from profiler.errors import CaptureError

    rig = _rig(rig_name)
    latency, send, returns = stored(rig), stored_send(rig), stored_returns(rig)
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.calibrations/1",
                "latency": latency and latency.model_dump(mode="json"),
                "send": send and send.model_dump(mode="json"),
                "returns": [found.model_dump(mode="json") for found in returns],
            }
        )
        return
    console.show_facts(
        (
            *(_latency_facts(latency, rig) if latency else [("round trip", "unknown")]),
            *(_send_facts(send) if send else [("send", "unknown")]),
            *(fact for found in returns for fact in _return_facts(found)),
            *([] if returns else [("return", "unknown")]),
        )
    )
    for recalled in (recall, recall_send):
        try:
            recalled(rig)
        except CaptureError as error:  # why it is unknown, and what to do
            console.talk(str(error))


def _rig(rig_name):
    from profiler.rig.rig import load_rig

    rig = load_rig(rig_name)
    if rig.interface.driver == "file":
        raise click.UsageError(f"{rig_name} is a file rig: it has no interface to calibrate")
    return rig


def _voltage(level):
    if level.unit == "dBFS":
        raise click.UsageError(f"--nominal {level}: expected a voltage, such as 16dBu or 4.9Vrms")
    return level


def _asked(level_dbfs):
    """What a person says that the meter read; None when she did not see it."""
    question = (
        f"what did the meter read at {level_dbfs:.4g} dBFS (V, mV, dBu or dBV; Enter: play it "
        "again)"
    )
    while True:
        answer = click.prompt(question, default="", show_default=False, err=True)
        if not answer.strip():
            return None
        try:
            reading = parse_level(answer)
        except ValueError as error:
            console.talk(f"{error}: a meter says 48.9mV, or -24dBu")
            continue
        if reading.unit != "dBFS":
            return reading
        console.talk("a meter reads a voltage: 48.9mV, 0.0489V, -24dBu or -26.2dBV")


def _told(meter):
    def read(level_dbfs):
        reading = meter(level_dbfs)
        console.talk(f"the simulated meter reads {1e3 * reading.value:.4g} mV")
        return reading

    return read


def _show(calibration, facts, as_json):
    if as_json:
        console.show_json(calibration)
    else:
        console.show_facts(facts)


def _latency_facts(found, rig):
    milliseconds = 1e3 * found.round_trip_samples / rig.interface.sample_rate
    yield "round trip", f"{found.round_trip_samples:.3f} samples ({milliseconds:.2f} ms)"
    yield "spread", f"{found.spread_samples:.4f} samples over {found.repeats} repeats"
    yield "polarity", "as sent" if found.polarity > 0 else "inverted"
    yield "drift", "unknown" if found.drift_ppm is None else f"{round(found.drift_ppm, 3):g} ppm"
    if found.block_sizes:
        yield "blocks", f"up to {max(found.block_sizes)} frames"
    yield "measured", f"{found.created_utc:%Y-%m-%d %H:%M} UTC"


def _send_facts(found):
    yield "send", f"{_volts(found)}: a sine whose peak is 0 dBFS"
    yield "known from", _basis(found)


def _return_facts(found):
    at = f" (gain at {found.gain_position})" if found.gain_position else ""
    yield "return", f"{_volts(found)}: recorded with a peak of 0 dBFS{at}"
    yield "known from", _basis(found)
    if found.clip_dbfs is not None:
        where = f"at {found.clip_dbfs:.1f} dBFS ({found.clip_dbu:+.1f} dBu)"
        yield "clips", f"{where}, {found.headroom_db:.1f} dB above the reference tone"
    elif found.highest_clean_dbfs is not None:
        highest_dbfs = round(found.highest_clean_dbfs, 1) + 0.0  # never "-0.0"
        yield "clips", f"not up to {highest_dbfs:.1f} dBFS, the loudest it was given"


def _volts(found):
    dbu = found.dbu_at_full_scale
    return f"{dbu:+.2f} dBu ({dbu_to_volts(dbu):.4g} V RMS)"


def _basis(found):
    source = "a voltmeter" if found.basis == "meter" else "a data sheet (nominal)"
    return f"{source}, ±{found.uncertainty_db:g} dB, {found.created_utc:%Y-%m-%d %H:%M} UTC"

"""`ampscope warmup`: wait until the amp is what it will be during a take."""

import click
from rich.live import Live
from rich.text import Text

from profiler.cli import console, options
from profiler.cli.capture import connected, refuse_file_rig
from profiler.units import spoken_percent, spoken_time

WORDS_COLUMNS = 42  # of a terminal's, beside the bars
FEWEST_BARS = 8
BLOCKS = "▁▂▃▄▅▆▇█"
LEAST_RANGE_DB = 0.1  # from the bottom of the plot to its top: noise should look small
LEAST_RANGE_THD = 5e-4


@click.command()
@click.argument("rig_name", metavar="RIG")
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 240.0),
    default=20.0,
    show_default=True,
    help="How long to wait for it at most.",
)
@click.option(
    "--every",
    "every_seconds",
    type=options.SecondsType(2.0),
    default="10s",
    show_default=True,
    help="From one burst to the next.",
)
@click.option(
    "--level",
    type=options.LevelType(),
    help="Peak of the bursts, -20dBFS or lower (or 4dBu, -10dBV, 1.2Vrms).  [default: -20dBFS]",
)
@options.yes
@options.no_input
@options.json_output
def command(rig_name, minutes, every_seconds, level, yes, no_input, as_json):
    """Play a quiet burst now and then until the amp is warm.

    It is warm when a take of two minutes that begins now will find it the same: its level within
    0.05 dB, its distortion within 1.5 % of itself. Exit 3 when it is not after --minutes.
    """
    from profiler.capture.safety import announce
    from profiler.capture.warmup import LOUDEST_DBFS, warm_up, warm_up_plan
    from profiler.rig.rig import load_rig

    rig = load_rig(rig_name)
    refuse_file_rig(rig)
    settings = {
        "every_seconds": every_seconds,
        "limit_seconds": max(60.0 * minutes, every_seconds),
        "level_dbfs": LOUDEST_DBFS if level is None else _quiet(level, rig, LOUDEST_DBFS),
    }
    plan = warm_up_plan(rig.interface.sample_rate, **settings)
    interface = connected(rig, plan, announce(rig, plan), yes=yes, no_input=no_input)
    display = _Display()
    try:
        with display:
            warm_up(rig, interface, on_burst=display.burst, **settings)
    except KeyboardInterrupt:
        if display.known is not None:
            _show(display.known, as_json)
        raise
    _show(display.known, as_json)
    if display.known.stable_after_seconds is None:
        raise click.exceptions.Exit(console.CHECK_FAILED_EXIT)


def _quiet(level, rig, loudest_dbfs):
    level_dbfs = options.peak_dbfs(level, rig)
    if level_dbfs > loudest_dbfs:
        raise click.UsageError(
            f"--level {level}: a burst is {loudest_dbfs:g} dBFS or quieter, so that it does not "
            "itself warm the amp"
        )
    return level_dbfs


def _show(known, as_json):
    if as_json:
        console.show_json(known)
        return
    if known.bursts:
        last, tau = known.bursts[-1], known.time_constant_seconds
        console.show_facts(
            (
                ("heard", f"{_counted(known.bursts)} in {spoken_time(last.seconds)}"),
                ("level", f"{last.level_dbfs:.2f} dBFS, {_change(last)}"),
                ("THD", spoken_percent(last.thd)),
                ("time constant", "none seen" if tau is None else spoken_time(tau)),
            )
        )
    console.show(known.sentence)


class _Display:
    """What is known, burst by burst: a live plot on a terminal, plain lines elsewhere."""

    def __init__(self):
        self.known = None
        self._live = Live(console=console.stderr, auto_refresh=False, transient=True)

    def __enter__(self):
        if console.stderr.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error):
        self._live.stop()

    def burst(self, known):
        self.known = known
        if console.stderr.is_terminal:
            self._live.update(_plot(known), refresh=True)
        elif known.bursts:
            last = known.bursts[-1]
            console.talk(
                f"{_clock(last.seconds)}  {last.level_dbfs:.2f} dBFS, {_change(last)}, "
                f"THD {spoken_percent(last.thd)}; {known.sentence}"
            )
        else:
            console.talk(known.sentence)


def _plot(known):
    lines = []
    if known.bursts:
        bars = max(console.stderr.width - WORDS_COLUMNS, FEWEST_BARS)
        last, shown = known.bursts[-1], known.bursts[-bars:]
        lines = [
            f"level  {_blocks([b.level_dbfs for b in shown], LEAST_RANGE_DB)}  {_change(last)}",
            f"THD    {_blocks([b.thd for b in shown], LEAST_RANGE_THD)}  "
            f"{spoken_percent(last.thd)}",
            f"{_clock(last.seconds)}  {_counted(known.bursts)}; Ctrl-C ends it",
        ]
    return Text("\n".join([*lines, known.sentence]))


def _blocks(values, least_range):
    """A bar for each value, between the least and the greatest of them."""
    middle = (min(values) + max(values)) / 2.0
    half = max(max(values) - min(values), least_range) / 2.0
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((0.5 + (v - middle) / half / 2.0) * top)] for v in values)


def _counted(bursts):
    return "1 burst" if len(bursts) == 1 else f"{len(bursts)} bursts"


def _change(burst):
    return f"{round(burst.level_change_db, 2) + 0.0:+.2f} dB since the first burst"


def _clock(seconds):
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"

"""The meter of `ampscope capture RIG --meter`: the return, live, and what to turn."""

import numpy as np
from rich.live import Live
from rich.text import Text

from profiler.capture.level import TARGET_DBFS, Meter, judge, level_plan
from profiler.cli import console

SECONDS = 30.0
BAR_EVERY_SECONDS = 0.05
LINE_EVERY_SECONDS = 2.0  # where there is no terminal
LOWEST_DBFS = -60.0  # at the left end of the bar
BAR_WIDTH = 48
COLOURS = {"low": "cyan", "right": "green", "hot": "yellow", "clipped": "bold red"}


def set_level(rig, plan, *, yes, no_input):
    """Play guitar that rises to the peak of `plan`, show the return, and give the last advice."""
    from profiler.capture.safety import announce
    from profiler.cli.capture import connected
    from profiler.stimulus.synthesis import render

    loop = level_plan(plan, SECONDS)
    interface = connected(rig, loop, announce(rig, loop), yes=yes, no_input=no_input)
    stimulus = render(loop)
    meter = Meter(loop.sample_rate)
    with _Screen(meter, loop) as screen:
        interface.play_record([stimulus], len(stimulus), screen.look_at)
    return meter.advice()


class _Screen:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, meter, plan):
        self._meter = meter
        self._plan = plan
        self._frames = 0
        self._next = 0.0
        self._live = (
            Live(console=console.stderr, refresh_per_second=20, transient=True)
            if console.stderr.is_terminal
            else None
        )

    def __enter__(self):
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_):
        if self._live is not None:
            self._live.stop()

    def look_at(self, block):
        self._meter.add(block.samples[:, 0])
        self._frames += len(block.samples)
        seconds = self._frames / self._plan.sample_rate
        if seconds < self._next:
            return
        if self._live is not None:
            self._next = seconds + BAR_EVERY_SECONDS
            self._live.update(bar(self._meter, self._plan.seconds - seconds))
        else:
            self._next = seconds + LINE_EVERY_SECONDS
            console.talk(line(self._meter))


def line(meter) -> str:
    """The meter in words."""
    noise, now, highest = (
        "    -inf" if np.isinf(level) else f"{level:6.1f} dBFS"
        for level in (meter.noise_rms_dbfs, meter.peak_dbfs, meter.highest_dbfs)
    )
    return f"return {now}, highest {highest}, noise {noise}: {_advice_words(meter)}"


def bar(meter, seconds_left) -> Text:
    """The meter as a bar from -60 dBFS to full scale, with the noise, the target and the peak."""
    text = Text()
    lowest, highest = TARGET_DBFS
    full = column(meter.peak_dbfs)
    noise, held = column(meter.noise_rms_dbfs), column(meter.highest_dbfs)
    for place in range(BAR_WIDTH):
        level_dbfs = LOWEST_DBFS * (1.0 - place / BAR_WIDTH)
        zone = "low" if level_dbfs < lowest else "right" if level_dbfs < highest else "hot"
        symbol = "━" if place < full else "─" if zone == "right" else "·"
        if place == held - 1:
            symbol, zone = "┃", "clipped" if meter.clipped else zone
        style = "dim" if place < noise else COLOURS[zone]
        text.append(symbol, style=style)
    lying = judge(meter.highest_dbfs, meter.noise_rms_dbfs, clipped=meter.clipped)
    text.append(
        f" {meter.peak_dbfs:6.1f} dBFS, {lying.headroom_db:.0f} dB to clipping, "
        f"{_range_words(lying)}"
    )
    text.append(f"\n{_advice_words(meter)}", style=COLOURS["clipped" if meter.clipped else "right"])
    text.append(f"  ({max(seconds_left, 0.0):.0f} s)", style="dim")
    return text


def _advice_words(meter):
    advice = meter.advice()
    return "quiet passages first" if advice is None else advice.advice


def show_advice(advice, as_json):
    """The last word, as the result."""
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.level/1",
                "peak_dbfs": _known(advice.peak_dbfs),
                "noise_rms_dbfs": _known(advice.noise_rms_dbfs),
                "clipped": advice.clipped,
                "change_db": advice.change_db,
                "advice": advice.advice,
            }
        )
        return
    clipped = ", clipped" if advice.clipped else f", {advice.headroom_db:.1f} dB to clipping"
    console.show_facts(
        (
            ("return", f"{advice.peak_dbfs:.1f} dBFS at its highest{clipped}"),
            ("range", _range_words(advice)),
            ("advice", advice.advice),
        )
    )


def _known(level_dbfs):
    """JSON has no infinity: silence has no level."""
    return level_dbfs if np.isfinite(level_dbfs) else None


def _range_words(advice):
    if np.isinf(advice.range_db) or np.isnan(advice.range_db):
        return "no noise"
    return f"{advice.range_db:.0f} dB above the noise"


def column(level_dbfs):
    """How many columns of a bar a level fills."""
    return round(BAR_WIDTH * (1.0 - max(level_dbfs, LOWEST_DBFS) / LOWEST_DBFS))

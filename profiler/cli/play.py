"""`ampscope play`: a model, live."""

import time
from pathlib import Path

import click
import numpy as np
from rich.live import Live
from rich.text import Text

from profiler.cli import console, options
from profiler.cli.keys import Keys
from profiler.cli.meter import BAR_WIDTH, column

REFRESH_SECONDS = 0.1
LINE_EVERY_SECONDS = 10.0  # where there is no terminal
FALL_DB_PER_SECOND = 20.0  # of a meter, so that a peak can be read
CLIPPED_SHOWN_SECONDS = 1.0
KEYS = "1-9 or n: model · [ ]: gain in · - +: gain out · space: mute · q: end"


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="Name of the interface, or a part that only it has.")
@click.option("--return-device", help="The recording device, where it is another.")
@click.option("--host-api", help="ALSA, JACK, Core Audio ... where several have it.")
@click.option(
    "--input",
    "input_channel",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Channel of the instrument.",
)
@click.option(
    "--output",
    "outputs",
    type=click.IntRange(1, 256),
    multiple=True,
    help="Channel that sounds; may be repeated.  [default: the first two]",
)
@click.option(
    "--block",
    type=click.IntRange(16, 1024),
    help="Samples at a time.  [default: 64, or what a JACK server says]",
)
@click.option(
    "--rate", type=click.IntRange(8000, 384_000), help="In Hz, where a model does not say its own."
)
@click.option(
    "--ir",
    type=click.Path(path_type=Path),
    help="WAV of a cabinet's impulse response, behind every model.",
)
@click.option("--gain-in", type=float, default=0.0, show_default=True, help="In dB.")
@click.option("--gain-out", type=float, default=0.0, show_default=True, help="In dB.")
@click.option(
    "--ceiling",
    type=options.LevelType(),
    default="0dBFS",
    show_default=True,
    help="Nothing above it comes out.",
)
@click.option("--fast-tanh", is_flag=True, help="The approximation that players use.")
@click.option(
    "--seconds",
    type=options.SecondsType(0.1),
    help="How long, such as 30s.  [default: until q or Ctrl-C]",
)
@click.option(
    "--round-trip",
    is_flag=True,
    help="With a cable from the output to the input, and no MODEL: measure the round trip, and "
    "keep it.",
)
@options.yes
@options.no_input
@options.json_output
def command(models, outputs, ceiling, round_trip, yes, no_input, as_json, **how):
    """Play an instrument through MODEL: a model folder or a .nam file.

    Several models are switched between by their numbers, without a click. The sound comes up to
    its level in two seconds. Ctrl-C, or q, fades it out.
    """
    from profiler.rig.rig import PortAudioInterface

    if bool(models) == round_trip:
        raise click.UsageError(
            "--round-trip takes no MODEL" if models else "give one MODEL or more to play"
        )
    if ceiling.unit != "dBFS":
        raise click.UsageError(f"--ceiling {ceiling}: expected 0dBFS or lower, such as -6dBFS")
    loaded, names, rate = [], [], how["rate"] or 48_000
    if models:
        loaded, names, rate = _loaded(models, how["rate"])
    interface = PortAudioInterface(
        driver="portaudio",
        device=how["device"],
        return_device=how["return_device"],
        host_api=how["host_api"],
        return_channel=how["input_channel"],
        sample_rate=rate,
        block_size=how["block"] or 0,
    )
    confirmed = {"yes": yes, "no_input": no_input}
    if round_trip:
        _measure(interface, outputs or None, confirmed, as_json)
        return
    _play(loaded, names, interface, outputs or None, ceiling.value, confirmed, as_json, how)


def _loaded(models, rate):
    from profiler.export.nam import load_model
    from profiler.model.playing import sample_rate_of

    loaded = [load_model(path).network for path in models]
    names = [path.stem if path.is_file() else path.name for path in models]
    return loaded, names, rate or sample_rate_of(loaded, [str(path) for path in models])


def _play(loaded, names, interface, outputs, ceiling_dbfs, confirmed, as_json, how):
    from profiler.capture.safety import LiveAnnouncement
    from profiler.model.playing import LivePlayer, impulse_of, round_trip_seconds

    impulse = None
    if how["ir"] is not None:
        impulse, own_rate = impulse_of(how["ir"], interface.sample_rate)
        if own_rate != interface.sample_rate:
            console.talk(f"{how['ir']}: brought from {own_rate} to {interface.sample_rate} Hz")
    player = LivePlayer(
        loaded,
        interface,
        outputs=outputs,
        impulse=impulse,
        gain_in_db=how["gain_in"],
        gain_out_db=how["gain_out"],
        ceiling_dbfs=ceiling_dbfs,
        fast_tanh=how["fast_tanh"],
    )
    announcement = LiveAnnouncement(
        what=", ".join(names),
        device=player.device,
        input_channel=interface.return_channel,
        output_channels=player.outputs,
        ceiling_dbfs=ceiling_dbfs,
        seconds=how["seconds"],
        conditions=player.rig.fingerprint,
    )
    console.confirm_sound(announcement, **confirmed)
    trip = round_trip_seconds(player.rig, interface.sample_rate)
    try:
        with Keys() as keys, _Screen(player, names, trip, keys) as screen:
            until = time.monotonic() + (how["seconds"] or np.inf)
            player.run(lambda: screen.look() and time.monotonic() < until)
    finally:
        told = player.told()
        if told.blocks:
            _show(told, as_json)


def _measure(interface, outputs, confirmed, as_json):
    from profiler.capture.calibration import store_live
    from profiler.capture.safety import LiveAnnouncement
    from profiler.model import playing

    rig, device = playing.opened(interface, outputs)
    announcement = LiveAnnouncement(
        what="a noise",
        device=device.device,
        input_channel=interface.return_channel,
        output_channels=playing.sounding(outputs, device),
        ceiling_dbfs=playing.PROBE_DBFS,
        seconds=playing.PROBES * playing.PROBE_SECONDS,
        conditions=rig.fingerprint,
    )
    console.confirm_sound(announcement, **confirmed)
    rig, calibration = playing.measure_round_trip(interface, outputs=outputs)
    path = store_live(rig, calibration)
    if as_json:
        console.show_json(calibration)
        return
    samples = calibration.round_trip_samples
    console.show_facts(
        (
            (
                "round trip",
                f"{_milliseconds(samples / interface.sample_rate)}, {samples:.0f} samples",
            ),
            ("blocks", " to ".join(map(str, calibration.block_sizes)) + " samples"),
            ("kept in", str(path)),
        )
    )


def _show(told, as_json):
    if as_json:
        console.show_json(told)
        return
    sizes = " to ".join(str(size) for size in sorted(set(told.block_sizes)))
    trip = told.round_trip_ms
    console.show_facts(
        (
            ("played", f"{told.seconds:.1f} s through {told.device}"),
            ("blocks", f"{told.blocks} of {sizes} samples at {told.sample_rate} Hz"),
            ("load", _load_words(told.load_mean, told.load_p999, told.load_highest)),
            ("xruns", _xrun_words(told.late_blocks, told.overloaded_blocks, told.flagged_blocks)),
            ("peak in", _level_words(told.input_peak_dbfs)),
            (
                "peak out",
                f"{_level_words(told.output_peak_dbfs)}{_clip_words(told.clipped_samples)}",
            ),
            ("round trip", "not measured" if trip is None else _milliseconds(trip / 1e3)),
        )
    )


class _Screen:
    """Models, meters and load: live on a terminal, a line now and then elsewhere; and the keys."""

    def __init__(self, player, names, round_trip, keys):
        self._player, self._names, self._keys = player, names, keys
        self._round_trip = round_trip
        self._levels = [-np.inf, -np.inf]  # as shown: they fall slowly
        self._clipped, self._clipped_at = 0, -np.inf
        self._next = time.monotonic()
        self._live = Live(console=console.stderr, auto_refresh=False, transient=True)

    def __enter__(self):
        if console.stderr.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error):
        self._live.stop()

    def look(self):
        """Whether to go on."""
        for key in self._keys.pressed():
            if key in "qQ":
                return False
            self._press(key)
        now = time.monotonic()
        if now < self._next:
            return True
        terminal = console.stderr.is_terminal
        self._next = now + (REFRESH_SECONDS if terminal else LINE_EVERY_SECONDS)
        meters = self._player.meters()
        if not terminal:
            console.talk(self._line(meters))
            return True
        self._live.update(self._drawn(meters, now), refresh=True)
        return True

    def _press(self, key):
        player = self._player
        if key.isdecimal():
            player.choose(int(key) - 1)
        elif key in "nN":
            player.choose((player.chosen + 1) % len(self._names))
        elif key in "[]":
            player.turn(gain_in_db=1.0 if key == "]" else -1.0)
        elif key in "-+=":
            player.turn(gain_out_db=-1.0 if key == "-" else 1.0)
        elif key == " ":
            player.mute()

    def _line(self, meters):
        return (
            f"in {_level_words(meters.input_dbfs)}, out {_level_words(meters.output_dbfs)}, load "
            f"{_load_words(*meters.load)}, {_xruns(meters)}"
        )

    def _drawn(self, meters, now):
        fall = FALL_DB_PER_SECOND * REFRESH_SECONDS
        fresh = (meters.input_dbfs, meters.output_dbfs)
        self._levels = [max(f, s - fall) for f, s in zip(fresh, self._levels, strict=True)]
        if meters.clipped > self._clipped:
            self._clipped, self._clipped_at = meters.clipped, now
        player = self._player
        text = Text(no_wrap=True, overflow="crop")
        for number, name in enumerate(self._names, start=1):
            chosen = number - 1 == player.chosen
            text.append(f"{'▶' if chosen else ' '} {number} {name}\n", "bold" if chosen else "dim")
        _append_bar(text, "in ", self._levels[0], player.gain_in_db)
        text.append("\n")
        _append_bar(text, "out", self._levels[1], player.gain_out_db)
        if player.muted:
            text.append("  muted", "bold yellow")
        if now - self._clipped_at < CLIPPED_SHOWN_SECONDS:
            text.append("  clipped", "bold red")
        trip = "not measured" if self._round_trip is None else _milliseconds(self._round_trip)
        text.append(f"\nload {_load_words(*meters.load)}\n")
        text.append(f"{_xruns(meters)} · round trip {trip}")
        if self._keys.there:
            text.append(f"\n{KEYS}", "dim")
        return text


def _append_bar(text, label, level_dbfs, gain_db):
    full = min(column(level_dbfs), BAR_WIDTH)
    colour = "red" if level_dbfs >= 0.0 else "yellow" if level_dbfs > -6.0 else "green"
    text.append(f"{label} ")
    text.append("━" * full, colour)
    text.append("·" * (BAR_WIDTH - full), "dim")
    text.append(f" {_level_words(level_dbfs):>11}  {gain_db:+.0f} dB")


def _level_words(level_dbfs):
    return "silence" if level_dbfs is None or np.isinf(level_dbfs) else f"{level_dbfs:.1f} dBFS"


def _load_words(mean, high, highest):
    return f"{100 * mean:.1f} % mean, {100 * high:.1f} % p99.9, {100 * highest:.0f} % highest"


def _xruns(meters):
    return _xrun_words(meters.late, meters.overloaded, meters.flagged)


def _xrun_words(late, overloaded, flagged):
    ours = f"{overloaded or 'none'} of ours"
    held_up = f", held up {late - overloaded} times by the system" if late > overloaded else ""
    return f"{flagged} by the driver's account, {ours}{held_up}"


def _clip_words(samples):
    return f", {samples} samples clipped" if samples else ""


def _milliseconds(seconds):
    return f"{1e3 * seconds:.1f} ms"

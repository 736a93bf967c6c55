"""The experiments that this project began with, done again and finished.

    python docs/experiments/experiments.py                  # all of them, about 25 minutes
    python docs/experiments/experiments.py memory           # one: see `EXPERIMENTS`
    python docs/experiments/experiments.py --reduced -o x   # in a minute, to see that it runs

Takes and models are kept in the folder of `-o` (`captures/experiments`), so what was interrupted
goes on where it was. Figures and tables go into README.md beside this file; of a reduced run, into
the folder alone. Look at them before they are committed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal

from benchmarks.recorded_guitar import recorded_guitar
from benchmarks.recorded_guitar_check import response_of
from profiler.analysis.cabinet import cabinet_ir
from profiler.analysis.error import esr
from profiler.analysis.settling import settling
from profiler.capture.alignment import AlignedCapture, Alignment, load_aligned
from profiler.capture.folder import CaptureFolder
from profiler.capture.take import take
from profiler.definitions import replacing
from profiler.model.architectures import architecture
from profiler.model.dataset import stretches_of
from profiler.model.network import Network
from profiler.model.streaming import real_time_factor, render
from profiler.model.training import TrainingOptions, train
from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    STRONG,
    WEAK,
    Drawing,
    curve,
    decades,
    dots,
    drawing,
    frequency_axis,
    legend,
    rows,
)
from profiler.rig.connect import connect
from profiler.rig.rig import Rig, load_rig
from profiler.stimulus.plan import SignalDefinition, SignalPlan, load_signal
from profiler.stimulus.synthesis import render as stimulus_of

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
MARK = "<!-- {}: written by experiments.py -->\n"
END = "<!-- end -->\n"
RATE = 48_000
DRIVE = 8.0  # of the memoryless distortion
RIGS = ("drive", "fuzz", "clean", "plexi", "hi-gain", "tweed")
MS = 1e3 / RATE


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    signal: str = "standard"
    minibatches: int = 1000  # of experiment 1
    networks: tuple[str, ...] = ("net-1", "net-2", "nano", "standard", "a2-full", "lstm-24")
    network: str = "standard"  # of experiments 4 and 5
    equal_seconds: float = 45.0  # of each network in experiments 2 and 4, but for net 2
    net_2_seconds: float = 300.0
    field_seconds: float = 6.0  # of each in experiment 3
    layers: tuple[int, ...] = (3, 5, 7, 9, 10, 11, 12)
    rigs: tuple[str, ...] = RIGS
    cabinet_rig: str = "plexi"
    material_seconds: tuple[float, ...] = (10.0, 40.0)  # of experiment 5
    material_training: float = 12.0
    guitar_seconds: float = 24.0
    steps: int | None = None  # of every network instead of its seconds: the same anywhere


REDUCED = Sizes(
    signal="quick",
    minibatches=300,
    networks=("net-1", "nano"),
    network="nano",
    layers=(3, 8),
    rigs=("drive",),
    cabinet_rig="tweed",
    material_seconds=(6.0,),
    guitar_seconds=2.0,
    steps=240,
)


@dataclass(frozen=True)
class Found:
    """What an experiment has to say: a table, its header first, and figures by name."""

    table: Sequence[Sequence[str]]
    figures: dict[str, Drawing]


@dataclass(frozen=True)
class Bench:
    """Where takes and models are kept, and how large everything is."""

    folder: Path
    sizes: Sizes

    def capture(self, rig: Rig, plan: SignalPlan | None = None) -> AlignedCapture:
        """A take of a rig, played unless it is there."""
        plan = (plan or load_signal(self.sizes.signal).plan(RATE)).bracketed()
        path = self.folder / "takes" / f"{rig.name} {plan.name}".replace(" ", "-")
        folder = CaptureFolder(path)
        if not folder.record_path.is_file() or folder.record().plan != plan:
            say(f"playing {plan.name} through {rig.name}")
            folder = take(rig, plan, path, connect(rig), replace=True)
        return load_aligned(folder)

    def trained(self, name: str, capture: AlignedCapture, seed=0, **options) -> Network:
        """A network trained on a capture, unless it is there."""
        seconds = options.pop("seconds", None)
        if seconds is None or self.sizes.steps is not None:
            options = {"steps": self.sizes.steps} | options | {"minutes": None}
        else:
            options["minutes"] = seconds / 60.0
        say(f"training {name}")
        path = self.folder / "models" / name.replace(" ", "-")
        return train([capture], path, TrainingOptions(**options, seed=seed), replace=True).network


def say(what):
    print(what, file=sys.stderr, flush=True)


def held_out(capture, signal):
    """Of a signal that belongs to a capture, what stands in its test passages."""
    return np.concatenate(
        [signal[start:stop] for start, stop in stretches_of(capture.plan, "test")]
    )


def played(network, capture):
    """What a network says in the test passages, each begun a second before: no one sees further."""
    parts = []
    for start, stop in stretches_of(capture.plan, "test"):
        begin = max(0, start - RATE)
        parts.append(render(network, capture.stimulus[begin:stop])[start - begin :])
    return np.concatenate(parts)


def errors(capture, network):
    """RMSE re full scale and ESR of a network over what nothing was trained on, and its output."""
    target, estimate = held_out(capture, capture.response), played(network, capture)
    rmse = float(np.sqrt(np.mean(np.square(target - estimate, dtype=np.float64))))
    return rmse, esr(target, estimate), estimate


def number(value):
    """An ESR or an RMSE, two digits of it."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


# -- 1. a memoryless distortion ---------------------------------------------------------


def bent(signal):
    """A curve without any memory, steeper on one side: a distortion plugin at its plainest."""
    driven = np.float32(DRIVE) * signal
    return (0.7 * np.where(driven > 0, np.tanh(driven), 0.8 * np.tanh(driven / 0.8))).astype(
        np.float32
    )


def memoryless(bench: Bench) -> Found:
    """Net 1 on a memoryless curve, after 1000 minibatches of 4096 samples."""
    plan = load_signal(bench.sizes.signal).plan(RATE)
    stimulus = stimulus_of(plan)
    known = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    capture = AlignedCapture(plan, known, stimulus, bent(stimulus))
    network = bench.trained(
        "memoryless net-1",
        capture,
        architecture="net-1",
        steps=bench.sizes.minibatches,
        batch=1,
        window=4096,
        learning_rate=0.02,
    )
    rmse, error, estimate = errors(capture, network)
    inputs, target = (held_out(capture, each) for each in (capture.stimulus, capture.response))
    straight = target - np.dot(inputs, target) / np.dot(inputs, inputs) * inputs
    table = [
        ("", "RMSE re full scale", "ESR"),
        (f"net 1 after {bench.sizes.minibatches} minibatches", number(rmse), number(error)),
        (
            "the best straight line",
            number(float(np.sqrt(np.mean(straight**2)))),
            number(esr(target, target - straight)),
        ),
    ]
    picked = slice(None, None, max(1, len(inputs) // 1500))
    return Found(table, {"memoryless": _curve(inputs[picked], target[picked], estimate[picked])})


@drawing
def _curve(inputs, outputs, estimates):
    figure, (axes,) = rows(1, 3.2)
    order = np.argsort(inputs)
    dots(axes, inputs, estimates, color=STRONG, label="net 1")
    axes.plot(inputs[order], outputs[order], color=INK, linewidth=0.8, label="the curve")
    axes.set_xlabel("input, re full scale")
    axes.set_ylabel("output, re full scale")
    legend(axes)
    return figure


# -- 2. an amp with memory --------------------------------------------------------------

# A step of net 2 takes as long as a hundred of the others: fewer samples each, and more time.
DRAWN = ("net-1", "nano")
NET_2 = {"batch": 2, "window": 2048}


def memory(bench: Bench) -> Found:
    """Networks on the tweed, trained equally long."""
    capture = bench.capture(load_rig("tweed"))
    seconds = bench.sizes.equal_seconds
    table = [
        (
            "network",
            "parameters",
            "sees, ms",
            "trained, s",
            "RMSE re full scale",
            "ESR",
            "x real time",
        )
    ]
    waves = {}
    target = held_out(capture, capture.response)
    for name in bench.sizes.networks:
        how = {"seconds": seconds}
        if name == "net-2":
            how = NET_2 | {"seconds": bench.sizes.net_2_seconds}
        network = bench.trained(f"memory {name}", capture, architecture=name, **how)
        rmse, error, waves[name] = errors(capture, network)
        config = network.config
        sees = "a state" if config.recurrent else f"{config.receptive_field * MS:.3g}"
        factor = real_time_factor(network)
        table.append(
            (
                name,
                f"{config.parameter_count:,}".replace(",", " "),
                sees,
                f"{how['seconds']:g}",
                number(rmse),
                number(error),
                f"{factor:.3g}",
            )
        )
    loudest = int(np.argmax(np.abs(target[: len(target) // 2])))
    stretch = slice(max(0, loudest - RATE // 200), max(0, loudest - RATE // 200) + RATE // 50)
    return Found(
        table,
        {
            "memory": _waves(
                target[stretch],
                [(name, waves[name][stretch]) for name in bench.sizes.networks if name in DRAWN],
            )
        },
    )


@drawing
def _waves(target, estimates):
    figure, (above, below) = rows(2)
    milliseconds = np.arange(len(target)) * MS
    above.plot(milliseconds, target, color=INK, label="amp")
    for index, (name, estimate) in enumerate(estimates):
        style = {"color": (STRONG, WEAK)[index], "linestyle": DASHES[index + 1]}
        above.plot(milliseconds, estimate, label=name, **style)
        below.plot(milliseconds, estimate - target, label=name, **style)
    above.set_ylabel("re full scale")
    below.set_ylabel("error")
    below.set_xlabel("time, ms")
    legend(above)
    return figure


# -- 3. how much history ----------------------------------------------------------------


def receptive_field(bench: Bench) -> Found:
    """The A440 answer of every rig, and the ESR of networks that see more and more."""
    fields = [architecture(f"standard-{layers}").receptive_field for layers in bench.sizes.layers]
    table = [
        (
            "rig",
            "settles to -40 dB, ms",
            "rests to -60 dB, ms",
            "recommended, samples",
            *(f"{field}" for field in fields),
        )
    ]
    curves = []
    for name in bench.sizes.rigs:
        capture = bench.capture(load_rig(name))
        found = settling(capture)
        burst = max(
            (each for each in found.bursts if each.frequency == 440.0),
            key=lambda each: each.level_dbfs,
        )
        seen = []
        for layers in bench.sizes.layers:
            chosen = f"standard-{layers}"
            network = bench.trained(
                f"field {name} {layers}",
                capture,
                architecture=chosen,
                seconds=bench.sizes.field_seconds,
            )
            seen.append(errors(capture, network)[1])
        curves.append((name, seen))
        table.append(
            (
                name,
                _time(burst.settling_ms, "-40"),
                _time(burst.rest_ms, "-60"),
                "unknown"
                if found.receptive_field_samples is None
                else str(found.receptive_field_samples),
                *(number(error) for error in seen),
            )
        )
    return Found(table, {"receptive-field": _fields(fields, curves)})


def _time(times, level):
    found = next((value for key, value in times.items() if key.startswith(level)), None)
    return "not reached" if found is None else f"{found:.3g}"


@drawing
def _fields(fields, curves):
    figure, (axes,) = rows(1, 3.0)
    for index, (name, seen) in enumerate(curves):
        axes.plot(fields, seen, marker="o", markersize=3.0, label=name, **curve(index))
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(5, 14, 2)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    decades(axes)
    axes.set_xlabel("receptive field, samples")
    axes.set_ylabel("ESR on held-out material")
    legend(axes)
    return figure


# -- 4. with a cabinet ------------------------------------------------------------------


def cabinet(bench: Bench) -> Found:
    """A network on amp and cabinet, against one on the amp with the measured cabinet behind it."""
    rig = load_rig(bench.sizes.cabinet_rig)
    chain = rig.chain.model_copy(update={"leave_out": ()})
    interface = rig.interface.model_copy(update={"di_channel": 3})
    heard = {"name": f"{rig.name} cabinet", "chain": chain, "interface": interface}
    rig = rig.model_copy(update=heard)
    capture = bench.capture(rig)
    amp = AlignedCapture(capture.plan, capture.alignment, capture.stimulus, capture.di)
    how = {"architecture": bench.sizes.network, "seconds": bench.sizes.equal_seconds}
    target = held_out(capture, capture.response)
    whole = bench.trained("cabinet whole", capture, **how)
    alone = bench.trained("cabinet amp", amp, **how)
    ir = cabinet_ir(capture)
    behind = scipy.signal.fftconvolve(render(alone, capture.stimulus), ir.samples)
    # The response begins 1 ms ahead of the direct sound, which is late by the air before it.
    late = _lag(capture.di, capture.response, ir)
    estimates = {
        "network alone": played(whole, capture),
        "network, then cabinet": held_out(capture, _shifted(behind, late, len(capture.stimulus))),
    }
    both = errors(amp, alone)[1]
    table = [
        ("", "ESR with the cabinet", "multiply-adds a sample"),
        (
            "network alone",
            number(esr(target, estimates["network alone"])),
            str(whole.config.multiply_adds),
        ),
        (
            f"network on the amp (ESR {number(both)}), then {len(ir.samples)} taps",
            number(esr(target, estimates["network, then cabinet"])),
            f"{alone.config.multiply_adds} and {len(ir.samples)}, or some 400 by spectra",
        ),
    ]
    return Found(table, {"cabinet": _spectra(target, estimates)})


def _lag(di, response, ir):
    """Samples that the kept impulse response stands ahead of where it was measured."""
    made = scipy.signal.fftconvolve(di, ir.samples)[: len(response)]
    size = scipy.fft.next_fast_len(2 * len(response), real=True)
    cross = np.fft.irfft(np.fft.rfft(response, size) * np.conj(np.fft.rfft(made, size)), size)
    lag = int(np.argmax(cross))
    return lag if lag < len(response) else lag - size


def _shifted(signal, late, length):
    padded = np.concatenate([np.zeros(max(late, 0)), signal[max(-late, 0) :], np.zeros(length)])
    return padded[:length]


def _band_power(signal, middles):
    """Power in third octaves."""
    frequencies, power = scipy.signal.welch(signal, RATE, nperseg=8192)
    edge = 2.0 ** (1 / 6)
    bands = ((frequencies >= f / edge) & (frequencies < f * edge) for f in middles)
    return np.array([np.sum(power[band]) for band in bands])


@drawing
def _spectra(target, estimates):
    figure, (axes,) = rows(1, SINGLE_INCHES)
    middles = np.geomspace(63.0, 10_000.0, 45)
    power = _band_power(target, middles)
    for index, (name, estimate) in enumerate(estimates.items()):
        level = 10.0 * np.log10(_band_power(target - estimate, middles) / power)
        axes.plot(middles, level, label=name, **curve(index))
    axes.set_ylabel("error re signal, dB")
    frequency_axis(axes, 50.0, 10_000.0)
    legend(axes)
    return figure


# -- 5. what holds on other material ----------------------------------------------------

MATERIALS: dict[str, tuple[dict, ...]] = {
    "sweeps": tuple(
        {"kind": "sweep", "level_dbfs": level, "share": 0.25}
        for level in (-30.0, -20.0, -10.0, 0.0)
    ),
    "noise": ({"kind": "noise", "level_dbfs": 0.0, "share": 1.0},),
    "guitar": ({"kind": "guitar", "level_dbfs": 0.0, "share": 1.0},),
    "mixture": (
        {"kind": "guitar", "level_dbfs": 0.0, "share": 0.65},
        {"kind": "noise", "level_dbfs": 0.0, "share": 0.22},
        {"kind": "multisine", "level_dbfs": 0.0, "share": 0.13},
    ),
}
PEAKS = {"hot": -1.0, "average": -11.0, "quiet": -31.0}


def material_plan(material: str, seconds: float) -> SignalPlan:
    """A signal of one material alone, and a guitar to validate on."""
    segments: list[dict] = [{"kind": "silence", "name": "before", "use": "align", "seconds": 0.5}]
    for place, part in enumerate(MATERIALS[material]):
        rest = {key: value for key, value in part.items() if key != "share"}
        named = {
            "name": f"{rest['kind']} {place}",
            "use": "train",
            "seconds": seconds * part["share"],
        }
        segments.append({"seed": place} | rest | named if rest["kind"] != "sweep" else rest | named)
    segments.append(
        {
            "kind": "guitar",
            "name": "validation",
            "use": "validate",
            "seconds": 3.0,
            "seed": 99,
            "level_dbfs": 0.0,
        }
    )
    definition = SignalDefinition.model_validate(
        {"name": f"{material} {seconds:g}", "segments": segments}
    )
    return definition.plan(RATE)


def generalisation(bench: Bench) -> Found:
    """Networks of different training material on guitar that was recorded."""
    table = [("device", "material", "seconds", *PEAKS)]
    longest = max(bench.sizes.material_seconds)
    bars = []
    for name in ("tweed", "hi-gain")[: 1 if bench.sizes is REDUCED else 2]:
        rig = load_rig(name)
        played = {
            label: recorded_guitar(bench.sizes.guitar_seconds, 1, level_dbfs=level)
            for label, level in PEAKS.items()
        }
        answers = {label: response_of(rig, guitar) for label, guitar in played.items()}
        wanted = [(material, longest) for material in MATERIALS]
        wanted += [("mixture", seconds) for seconds in bench.sizes.material_seconds[:-1]]
        for material, seconds in wanted:
            capture = bench.capture(rig, material_plan(material, seconds))
            network = bench.trained(
                f"material {name} {material} {seconds:g}",
                capture,
                architecture=bench.sizes.network,
                seconds=bench.sizes.material_training,
            )
            found = [esr(answers[label], render(network, played[label])) for label in PEAKS]
            table.append((name, material, f"{seconds:g}", *map(number, found)))
            if seconds == longest:
                bars.append((f"{name}, {material}", found))
    return Found(table, {"generalisation": _bars(bars)})


@drawing
def _bars(bars):
    figure, (axes,) = rows(1, 0.9 + 0.3 * len(bars))
    for index, (_, found) in enumerate(bars):
        for (label, error), marker, colour in zip(
            zip(PEAKS, found, strict=True), "os^", (STRONG, INK, WEAK), strict=True
        ):
            axes.plot(
                error,
                index,
                marker,
                color=colour,
                label=label if index == 0 else None,
                markersize=5.0,
            )
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks(ticks := [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1], [f"{t:g}" for t in ticks])
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("ESR on recorded guitar")
    legend(axes)
    return figure


# -- the page ---------------------------------------------------------------------------

EXPERIMENTS: dict[str, Callable[[Bench], Found]] = {
    "memoryless": memoryless,
    "memory": memory,
    "receptive-field": receptive_field,
    "cabinet": cabinet,
    "generalisation": generalisation,
}


def markdown(table) -> str:
    """A table as a page has it."""
    header, *rest = ("| " + " | ".join(row) + " |" for row in table)
    return "\n".join([header, "|" + "---|" * len(table[0]), *rest]) + "\n"


def written(text: str, name: str, table) -> str:
    """The page with one table in its place."""
    before, found, rest = text.partition(MARK.format(name))
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"{PAGE.name}: expected {MARK.format(name).strip()} and {END.strip()}")
    return f"{before}{MARK.format(name)}{markdown(table)}{END}{after}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*EXPERIMENTS, []], help="which; all of them")
    parser.add_argument(
        "--reduced", action="store_true", help="in a minute; the page stays as it is"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("captures/experiments"))
    options = parser.parse_args(arguments)
    bench = Bench(options.output, REDUCED if options.reduced else Sizes())
    for name in options.names or EXPERIMENTS:
        found = EXPERIMENTS[name](bench)
        print(f"{name}\n\n{markdown(found.table)}", flush=True)
        folder = bench.folder / "figures" if options.reduced else HERE
        folder.mkdir(parents=True, exist_ok=True)
        for figure, drawn in found.figures.items():
            with replacing(folder / f"{figure}.svg") as beside:
                beside.write_text(drawn.svg_file(), encoding="utf-8")
        if not options.reduced:
            text = written(PAGE.read_text(encoding="utf-8"), name, found.table)
            with replacing(PAGE) as beside:
                beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

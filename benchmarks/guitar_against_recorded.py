"""Is the synthetic guitar like a recorded one? One table of figures that can be compared.

    python benchmarks/guitar_against_recorded.py [--seeds 12] [--seconds 30]

*recorded*: performances on recorded single notes (recorded_guitar.py). *one guitar*: what
comes from the synthetic guitar's pickup. *as played*: the same through another tone knob and
another bass every three seconds, which is what the signals hold. Every figure is the mean
over the seeds, with the lowest and the highest.

Without fluidsynth and its sound font the recorded columns are left out, and it says so.
"""

import argparse
from collections.abc import Callable

import numpy as np
import recorded_guitar

from profiler.stimulus.guitar import (
    COLOUR_SECONDS,
    CORNER_HZ,
    Note,
    compose,
    drawn_instrument,
    perform,
    play_note,
)
from profiler.stimulus.shaping import MATERIAL_RATE, with_changing_colour

BANDS_HZ = ((20, 150), (150, 500), (500, 1500), (1500, 4000), (4000, 8000), (8000, 20_000))
FRAME_SECONDS = 0.05
NOISE_FLOOR_DB = -90.0  # re peak: what lies below is no guitar

# Notes whose decay is compared: MIDI note, string, fret.
DECAYING = ((40, 0, 0), (45, 1, 0), (52, 2, 2), (57, 3, 2), (64, 5, 0), (71, 5, 7), (76, 5, 12))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="performances of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a performance")
    options = parser.parse_args()

    performances: dict[str, Callable] = {"one guitar": one_guitar, "as played": as_played}
    notes: dict[str, Callable] = {"synthetic": synthetic_note}
    try:
        recorded_note(DECAYING[0])
    except FileNotFoundError as missing:
        print(f"no recorded guitar to compare with: {missing}\n")
    else:
        performances = {"recorded": recorded} | performances
        notes = {"recorded": recorded_note} | notes

    columns = {
        name: [figures(play(options.seconds, seed)) for seed in range(options.seeds)]
        for name, play in performances.items()
    }
    print("| figure | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for figure in next(iter(columns.values()))[0]:
        cells = (spread([row[figure] for row in column]) for column in columns.values())
        print(f"| {figure} | " + " | ".join(cells) + " |")

    print("\n| decay of one note, dB/s | " + " | ".join(notes) + " |")
    print("|---|" + "---|" * len(notes))
    for note in DECAYING:
        frequency = 440.0 * 2 ** ((note[0] - 69) / 12)
        cells = (spread([decay(sound) for sound in play(note)]) for play in notes.values())
        print(f"| {frequency:.0f} Hz | " + " | ".join(cells) + " |")


def recorded(seconds, seed):
    return recorded_guitar.recorded_guitar(seconds, seed).astype(np.float64)


def one_guitar(seconds, seed):
    rng = np.random.default_rng([1, seed])
    return perform(compose(seconds, rng, lowest_db=-35.0), round(seconds * MATERIAL_RATE), rng)


def as_played(seconds, seed):
    rng = np.random.default_rng([2, seed])
    signal = one_guitar(seconds, seed)
    return with_changing_colour(signal, rng, mean_seconds=COLOUR_SECONDS, corner_hz=CORNER_HZ)


def recorded_note(note):
    """One note, struck hard, of each of the two open guitars of the sound font."""
    programs = (recorded_guitar.JAZZ, recorded_guitar.CLEAN)
    return [
        recorded_guitar.rendered([(0.0, recorded_guitar.CHANNELS[p], note[0], 110, 2.5)], 3.0)
        for p in programs
    ]


def synthetic_note(note):
    """The same note on twelve guitars."""
    _, string, fret = note
    rng = np.random.default_rng(0)
    written = Note(0.0, string, fret, 2.5)
    return [play_note(written, drawn_instrument(rng), rng) for _ in range(12)]


def figures(signal):
    """What can be said of a performance, by name."""
    signal = signal / np.max(np.abs(signal))
    frame = round(FRAME_SECONDS * MATERIAL_RATE)
    frames = signal[: len(signal) // frame * frame].reshape(-1, frame)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 10 ** (NOISE_FLOOR_DB / 10))
    step = np.diff(level)
    seconds = len(signal) / MATERIAL_RATE

    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / MATERIAL_RATE)
    power /= power.sum()
    named = {"crest factor, dB": -10 * np.log10(np.mean(signal**2))}
    for percent in (25, 50, 75, 95):
        named[f"level of 50 ms, {percent} %, dB re peak"] = np.percentile(level, percent)
    named["centroid, Hz"] = np.sum(frequency * power)
    for low, high in BANDS_HZ:
        in_band = (frequency >= low) & (frequency < high)
        named[f"{low}-{high} Hz, dB"] = 10 * np.log10(power[in_band].sum())
    named["attacks above 20 dB in 50 ms, per second"] = np.sum(step > 20.0) / seconds
    named["attacks above 6 dB in 50 ms, per second"] = np.sum(step > 6.0) / seconds
    falling = -step[(step < 0.0) & (level[1:] > -70.0)] / FRAME_SECONDS
    named["decay, half of the falling frames, dB/s"] = np.percentile(falling, 50)
    named["decay, fastest tenth, dB/s"] = np.percentile(falling, 90)
    return named


def decay(sound):
    """Mean slope of a note's level from 0.1 to 1.1 s, in dB a second."""
    frame = round(FRAME_SECONDS * MATERIAL_RATE)
    power = np.mean(sound[: 22 * frame].reshape(22, frame) ** 2, axis=1)
    level = 10 * np.log10(power)
    return -np.polyfit(np.arange(2, 22) * FRAME_SECONDS, level[2:], 1)[0]


def spread(values):
    """Mean and range as a cell of the table."""
    digits = 0 if abs(np.mean(values)) >= 100 else 1
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()

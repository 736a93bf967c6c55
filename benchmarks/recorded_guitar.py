"""Recorded electric guitar, as nobody's training material: riffs on a sound font's samples.

A General MIDI sound font holds recordings of single notes of a clean and of a muted electric
guitar. Here they are played by a MIDI file made from a seed: riffs, chords, mutes, leads and
rests. A model is judged on this, as validation on synthetic material orders models poorly.

Needs the command `fluidsynth` and the sound font FluidR3 (Debian: fluid-soundfont-gm).
"""

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.units import db_to_amplitude, peak_dbfs

SAMPLE_RATE = 48_000
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

JAZZ, CLEAN, MUTED = 26, 27, 28  # General MIDI programs, counted from 0
CHANNELS = {JAZZ: 0, CLEAN: 1, MUTED: 2}
TICKS_A_SECOND = 960  # 480 a quarter note at 120 a minute

OPEN_STRINGS = (40, 45, 50, 55, 59, 64)  # MIDI notes, E2 to E4
HIGHEST_NOTE = 86  # D6, 22nd fret
MINOR_PENTATONIC = (0, 3, 5, 7, 10)
CHORDS = ((0, 7, 12), (0, 7, 12, 16, 19, 24), (0, 7, 12, 15, 19, 24), (0, 4, 7, 10, 14))


def recorded_guitar(seconds: float, seed: int, *, level_dbfs: float = -1.0) -> np.ndarray:
    """A performance on recorded guitar notes.

    Parameters
    ----------
    seconds : float
        Length.
    seed : int
        Draws another performance.
    level_dbfs : float
        Its peak: -1 is hot playing, -11 average.

    Returns
    -------
    (n,) float32 array
        Mono, at 48 kHz.

    Raises
    ------
    FileNotFoundError
        `fluidsynth` or the sound font is not installed.
    """
    notes = performance(seconds, np.random.default_rng(seed))
    mono = rendered(notes, seconds)
    return (mono * db_to_amplitude(level_dbfs - peak_dbfs(mono))).astype(np.float32)


def rendered(notes, seconds: float) -> np.ndarray:
    """Notes `(second, channel, note, velocity, length)` on recorded guitar, `(n,)` float64.

    Raises
    ------
    FileNotFoundError
        `fluidsynth` or the sound font is not installed.
    """
    if not SOUND_FONT.is_file():
        raise FileNotFoundError(f"{SOUND_FONT}: no such sound font (Debian: fluid-soundfont-gm)")
    with tempfile.TemporaryDirectory() as folder:
        midi, sound = Path(folder, "riffs.mid"), Path(folder, "riffs.wav")
        midi.write_bytes(midi_file(notes))
        # no reverb, no chorus: the notes as they were recorded
        options = ["-ni", "-R", "0", "-C", "0", "-g", "0.5", "-O", "float", "-T", "wav"]
        subprocess.run(
            ["fluidsynth", *options, "-r", str(SAMPLE_RATE), "-F", sound, SOUND_FONT, midi],
            check=True,
            capture_output=True,
        )
        stereo, _ = wav.read(sound, sample_rate=SAMPLE_RATE)
    frames = round(seconds * SAMPLE_RATE)
    mono = np.zeros(frames)
    heard = stereo[:frames].mean(axis=1, dtype=np.float64)
    mono[: len(heard)] = heard
    return mono


def performance(seconds, rng):
    """Notes `(second, channel, note, velocity, length)` of phrases, one after the other."""
    notes = []
    at = 0.1
    while at < seconds:
        phrase = rng.choice([riff, chords, mutes, lead], p=[0.3, 0.25, 0.2, 0.25])
        tempo = rng.uniform(0.09, 0.2)  # seconds of a sixteenth
        played = phrase(rng, tempo, rng.uniform(30, 127))
        notes += [(at + when, *rest) for when, *rest in played]
        at += max(when + length for when, *_, length in played) + rng.exponential(0.9)
    return [note for note in notes if note[0] < seconds]


def riff(rng, step, velocity):
    """Low single notes with holes between them."""
    root = rng.integers(40, 50)
    program = rng.choice([JAZZ, CLEAN])
    return [
        _note(rng, place * step, program, root + rng.choice(MINOR_PENTATONIC), velocity, step)
        for place in range(16)
        if rng.random() < 0.75 or place == 0
    ]


def chords(rng, step, velocity):
    """Strums: power, major and minor chords, left to ring."""
    played = []
    for bar in range(rng.integers(2, 5)):
        root, shape = rng.integers(40, 52), CHORDS[rng.integers(len(CHORDS))]
        ring = step * rng.uniform(4, 8)
        strum = rng.uniform(0.004, 0.02)
        played += [
            _note(rng, bar * 8 * step + string * strum, CLEAN, root + interval, velocity, ring)
            for string, interval in enumerate(shape)
        ]
    return played


def mutes(rng, step, velocity):
    """Palm mutes on the low strings."""
    root = rng.integers(40, 50)
    return [
        _note(rng, place * step, MUTED, root + rng.choice([0, 0, 0, 7, 12]), velocity, step / 2)
        for place in range(16)
        if rng.random() < 0.85 or place == 0
    ]


def lead(rng, step, velocity):
    """A walk up and down the high strings, with long notes among the short."""
    scale = [root + interval for root in (52, 64, 76) for interval in MINOR_PENTATONIC]
    place, at, played = rng.integers(len(scale)), 0.0, []
    program = rng.choice([JAZZ, CLEAN])
    for _ in range(rng.integers(6, 16)):
        length = step * rng.choice([1, 1, 2, 2, 4, 8])
        played.append(_note(rng, at, program, scale[place], velocity, length))
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(scale) - 1))
        at += length
    return played


def _note(rng, at, program, note, velocity, length):
    struck = int(np.clip(velocity + rng.normal(0, 12), 20, 127))
    late = max(0.0, rng.normal(0.003, 0.004))
    return at + late, CHANNELS[program], min(int(note), HIGHEST_NOTE), struck, length * 0.95


def midi_file(notes):
    """A standard MIDI file of format 0 (MIDI 1.0, Standard MIDI Files 1.0)."""
    events = [(0, bytes([0xC0 | channel, program])) for program, channel in CHANNELS.items()]
    for at, channel, note, velocity, length in notes:
        start = round(at * TICKS_A_SECOND)
        stop = max(start + 1, round((at + length) * TICKS_A_SECOND))
        events += [
            (start, bytes([0x90 | channel, note, velocity])),
            (stop, bytes([0x80 | channel, note, 0])),
        ]
    # at one moment a note ends before the next begins
    events.sort(key=lambda event: (event[0], event[1][0] & 0xF0 == 0x90))
    track, now = bytearray(), 0
    for tick, message in [*events, (events[-1][0] + TICKS_A_SECOND, b"\xff\x2f\x00")]:
        track += _variable_length(tick - now) + message
        now = tick
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS_A_SECOND // 2)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + bytes(track)


def _variable_length(number):
    """Seven bits a byte, all but the last with the high bit set."""
    encoded = [number & 0x7F]
    while number := number >> 7:
        encoded.append(0x80 | (number & 0x7F))
    return bytes(reversed(encoded))

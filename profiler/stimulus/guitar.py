"""A synthetic electric guitar, straight from its jack.

A player is drawn from a seed: single notes over the whole neck, chords and strumming,
palm mutes, leads, bends, slides, vibrato, arpeggios, chords that ring out, and rests,
from soft to hard. It is written down as a score (`compose`), the score is played on six
strings (`perform`), and what the pickup gives goes through another tone knob and another
bass every three seconds, as if another guitar were plugged in.

Two things matter most for a network that learns from it: levels that reach from soft playing
to full scale, and more than one guitar. docs/stimulus.md says what was tried, and compares
this guitar with a recorded one.

Conventions
-----------
String 0 is the low E, fret 0 the open string, in standard tuning. Composed at 48 kHz.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from profiler.stimulus.plan import Guitar
from profiler.stimulus.plucked_string import at_pickup, picked, plucked_string
from profiler.stimulus.shaping import (
    MATERIAL_RATE,
    finished,
    material_frames,
    scaled_to_peak,
    with_changing_colour,
)
from profiler.units import db_to_amplitude

OPEN_STRINGS_HZ = 440.0 * 2.0 ** ((np.array([40, 45, 50, 55, 59, 64]) - 69) / 12)  # E A D G B E
HIGHEST_FRET = 22

# Frets above the root's fret, low E to high E; None is a string not played.
CHORD_SHAPES = {
    "major, E shape": (0, 2, 2, 1, 0, 0),
    "minor, E shape": (0, 2, 2, 0, 0, 0),
    "seventh, E shape": (0, 2, 0, 1, 0, 0),
    "major, A shape": (None, 0, 2, 2, 2, 0),
    "minor, A shape": (None, 0, 2, 2, 1, 0),
    "suspended, A shape": (None, 0, 2, 2, 3, 0),
    "power, low": (0, 2, None, None, None, None),
    "power, low, octave": (0, 2, 2, None, None, None),
    "power, A": (None, 0, 2, 2, None, None),
    "triad": (None, None, 2, 1, 0, None),
    "double stop": (None, None, None, 0, 0, None),
}
POWER_SHAPES = ("power, low", "power, low, octave", "power, A")

COLOUR_SECONDS = 3.0
CORNER_HZ = (450.0, 8000.0)
SOFTEST_IN_PHRASE_DB = -12.0  # re the hardest note of the phrase
LONGEST_GAP_SECONDS = 0.35  # after a note cut short; with a rest, less than a second
STOP_SECONDS = (0.005, 0.04)  # in which a finger stops a string
LAST_WOUND_STRING = 2  # E, A and D are wound: duller, and their treble dies sooner
E3_DECAY_SECONDS = 8.0  # by 60 dB, of a guitar of average sustain
SOFT_CORNER_HZ = 1200.0  # where the treble of the softest pluck ends


@dataclass(frozen=True)
class Note:
    """One note of a score."""

    onset: float  # seconds from the start of its phrase
    string: int
    fret: int
    seconds: float  # until it is stopped
    hardness: float = 1.0  # peak re the hardest note of the phrase, 0 to 1; hard is bright
    muted: bool = False  # by the palm at the bridge
    legato: bool = False  # hammered or pulled off: no pick
    bend: float = 0.0  # semitones that the string is pushed up ...
    slide: int = 0  # ... or frets that the finger slides ...
    moves: tuple[float, float] = (0.1, 0.3)  # ... between these seconds of the note
    vibrato: float = 0.0  # depth, semitones either way, from 0.25 s on

    @property
    def frequency(self) -> float:
        """Where the note begins, in Hz."""
        return float(OPEN_STRINGS_HZ[self.string] * 2.0 ** (self.fret / 12))

    def pitch(self, time):
        """Frequency in Hz at times in seconds since the onset."""
        begin, end = self.moves
        way = np.clip((time - begin) / (end - begin), 0.0, 1.0)
        swing = np.sin(2 * np.pi * 5.5 * np.maximum(time - 0.25, 0.0))
        frets = np.round(self.slide * way)  # a slide goes up in frets, a bend does not
        semitones = self.bend * way + frets + self.vibrato * swing
        return self.frequency * 2.0 ** (semitones / 12)


@dataclass(frozen=True)
class Phrase:
    """What is played in one breath, at one loudness."""

    onset: float  # seconds
    seconds: float
    level_db: float  # peak re the loudest phrase there can be
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Instrument:
    """What stays the same for the length of a phrase."""

    pick_place: float  # from the bridge, part of the open string
    pickup_place: float
    pickup_resonance_hz: float
    pickup_q: float
    sustain: float  # factor on the decay times
    brightness_hz: float  # where a hard pick's treble ends


def guitar(segment: Guitar, sample_rate: int, rng: np.random.Generator):
    """A guitar part for a segment, `(n,)` float64; its largest sample is `level_dbfs`.

    Levels of phrases are uniform in dB from `lowest_db` to 0.
    """
    n = material_frames(segment)
    score = compose(n / MATERIAL_RATE, rng, lowest_db=segment.lowest_db)
    direct = perform(score, n, rng)
    several = with_changing_colour(direct, rng, mean_seconds=COLOUR_SECONDS, corner_hz=CORNER_HZ)
    return finished(several, segment, sample_rate)


def compose(seconds: float, rng: np.random.Generator, *, lowest_db: float) -> list[Phrase]:
    """Phrases that fill `seconds`: every kind in turn, in an order drawn anew each time.

    Levels are dealt like cards, one from each fifth of the range, so that a short part
    has soft and hard playing too.
    """
    score: list[Phrase] = []
    kinds: list[Callable] = []
    levels: list[float] = []
    now = 0.02
    while now < seconds:
        if not kinds:
            kinds = [PHRASES[k] for k in rng.permutation(len(PHRASES))]
        if not levels:
            levels = list(lowest_db * rng.permutation(np.arange(5) + rng.random(5)) / 5)
        notes, length = kinds.pop()(rng)
        if notes:
            score.append(Phrase(now, length, levels.pop(), tuple(_one_a_string(notes))))
        now += length
    return score


def perform(score: list[Phrase], n: int, rng: np.random.Generator):
    """A score played on six strings: `(n,)` float64 at the jack."""
    signal = np.zeros(n)
    for phrase in score:
        sound = scaled_to_peak(_play(phrase, rng), db_to_amplitude(phrase.level_db))
        start = round(phrase.onset * MATERIAL_RATE)
        sound = sound[: n - start]
        signal[start : start + len(sound)] += sound
    b, a = scipy.signal.butter(1, 30.0, "high", fs=MATERIAL_RATE)
    return scipy.signal.lfilter(b, a, signal)


def drawn_instrument(rng: np.random.Generator) -> Instrument:
    """Another guitar, another pickup and another place to pick."""
    return Instrument(
        pick_place=rng.uniform(0.06, 0.3),
        pickup_place=rng.uniform(0.06, 0.27),
        pickup_resonance_hz=rng.uniform(1800.0, 4500.0),
        pickup_q=rng.uniform(1.0, 4.0),
        sustain=rng.uniform(0.5, 1.5),
        brightness_hz=rng.uniform(6000.0, 18_000.0),
    )


def play_note(note: Note, instrument: Instrument, rng: np.random.Generator):
    """One note, before the pickup's resonance; its peak is its hardness."""
    n = round(note.seconds * MATERIAL_RATE)
    period = MATERIAL_RATE / note.pitch(np.arange(n) / MATERIAL_RATE)
    pickup_delay = instrument.pickup_place * MATERIAL_RATE / OPEN_STRINGS_HZ[note.string]
    sound = at_pickup(_string_in_two_planes(note, period, instrument, rng), pickup_delay)
    if not note.legato:
        _add_pick_noise(sound, note, rng)
    stop = min(n, round(rng.uniform(*STOP_SECONDS) * MATERIAL_RATE))
    sound[n - stop :] *= np.linspace(1.0, 0.0, stop)
    return scaled_to_peak(sound, note.hardness)


def _string_in_two_planes(note, period, instrument, rng):
    """A string swings towards the body and along it, the latter longer and a cent sharper.

    Together they beat, and decay fast at first and slowly later (Weinreich, JASA 62(6),
    1977, for the piano's strings; a guitar's bridge does the same to one string).
    """
    place = min(instrument.pick_place * note.frequency / OPEN_STRINGS_HZ[note.string], 0.5)
    grain = rng.normal(0.0, 0.05, round(period[0]))
    pulse = picked(period[0], place, _corner_hz(note, instrument), grain, MATERIAL_RATE)
    if note.muted:
        decay, treble_decay = rng.uniform(0.08, 0.25), rng.uniform(0.02, 0.08)
    else:
        decay = instrument.sustain * E3_DECAY_SECONDS * (165.0 / note.frequency) ** 0.6
        treble_decay = decay * (0.2 if note.string <= LAST_WOUND_STRING else 0.5)
    along = rng.uniform(0.1, 0.35)
    cents = rng.uniform(0.3, 1.5)
    return sum(
        share
        * plucked_string(
            period * 2.0 ** (-sharp / 1200),
            pulse,
            decay_seconds=longer * decay,
            treble_decay_seconds=longer * treble_decay,
            sample_rate=MATERIAL_RATE,
        )
        for share, sharp, longer in ((1.0 - along, 0.0, 1.0), (along, cents, 2.5))
    )


def _corner_hz(note, instrument):
    """Where the treble of the pluck ends: a soft pick, a palm and thick strings dull it."""
    corner = SOFT_CORNER_HZ + instrument.brightness_hz * note.hardness
    if note.legato:
        corner *= 0.5
    if note.muted:
        corner *= 0.3
    return corner * (0.6 if note.string <= LAST_WOUND_STRING else 1.0)


def _play(phrase, rng):
    instrument = drawn_instrument(rng)
    end = max(note.onset + note.seconds for note in phrase.notes)
    sound = np.zeros(round(end * MATERIAL_RATE) + 1)
    for note in phrase.notes:
        start = round(note.onset * MATERIAL_RATE)
        played = play_note(note, instrument, rng)[: len(sound) - start]
        sound[start : start + len(played)] += played
    return scipy.signal.lfilter(*_pickup(instrument), sound)


def _pickup(instrument):
    """Second-order low-pass: the coil's inductance against its cable's capacitance."""
    w0 = 2 * np.pi * instrument.pickup_resonance_hz / MATERIAL_RATE
    alpha = np.sin(w0) / (2.0 * instrument.pickup_q)
    cosine = np.cos(w0)
    b = np.array([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2])
    a = np.array([1 + alpha, -2 * cosine, 1 - alpha])
    return b / a[0], a / a[0]


def _add_pick_noise(sound, note, rng):
    """A few milliseconds of scrape as the pick leaves the string."""
    n = min(len(sound), round(rng.uniform(0.003, 0.02) * MATERIAL_RATE))
    b, a = scipy.signal.butter(1, (1500.0, 7000.0), "band", fs=MATERIAL_RATE)
    scrape = scipy.signal.lfilter(b, a, rng.standard_normal(n) * np.exp(-4.0 * np.arange(n) / n))
    sound[:n] += rng.uniform(0.02, 0.2) * note.hardness * np.max(np.abs(sound)) * scrape


def _one_a_string(notes):
    """A string sounds one note at a time: the next one stops the last."""
    notes = sorted(notes, key=lambda note: note.onset)
    for k, note in enumerate(notes):
        later = (other.onset for other in notes[k + 1 :] if other.string == note.string)
        stop = next(later, np.inf)
        if note.onset + note.seconds > stop:
            note = replace(note, seconds=stop - note.onset)
        yield note


def _hardness(rng):
    return float(db_to_amplitude(rng.uniform(SOFTEST_IN_PHRASE_DB, 0.0)))


def _held(rng, seconds):
    """How long a note is held: most ring into the next, some are cut short."""
    if rng.random() < 0.25:
        return max(seconds * rng.uniform(0.4, 0.8), seconds - LONGEST_GAP_SECONDS)
    return 1.15 * seconds


def _chord(rng, shapes, onset, seconds, hardness, *, stroke=0.012, muted=False):
    """A chord, strummed down or up: its strings follow one another within `stroke` each."""
    shape = CHORD_SHAPES[shapes[rng.integers(len(shapes))]]
    root = int(rng.integers(0, 13))
    strings = [string for string, fret in enumerate(shape) if fret is not None]
    if rng.random() < 0.3:
        strings.reverse()
    apart = rng.uniform(0.002, stroke)
    return [
        Note(
            onset + order * apart,
            string,
            min(root + shape[string], HIGHEST_FRET),
            seconds,
            hardness * rng.uniform(0.6, 1.0),
            muted=muted,
        )
        for order, string in enumerate(strings)
    ]


def _single_notes(rng):
    notes, now = [], 0.0
    for _ in range(5):
        seconds = rng.uniform(0.2, 0.8)
        string, fret = int(rng.integers(0, 6)), int(rng.integers(0, HIGHEST_FRET + 1))
        notes.append(Note(now, string, fret, _held(rng, seconds), _hardness(rng)))
        now += seconds
    return notes, now


def _chords(rng):
    notes, now = [], 0.0
    for _ in range(2):
        seconds = rng.uniform(0.6, 1.8)
        notes += _chord(rng, tuple(CHORD_SHAPES), now, _held(rng, seconds), _hardness(rng))
        now += seconds
    return notes, now


def _strumming(rng):
    beat = rng.uniform(0.22, 0.5)
    notes = []
    for stroke in range(5):
        notes += _chord(rng, tuple(CHORD_SHAPES), stroke * beat, _held(rng, beat), _hardness(rng))
    return notes, 5 * beat


def _ringing_chord(rng):
    return _chord(rng, tuple(CHORD_SHAPES), 0.0, 2.6, _hardness(rng), stroke=0.03), 2.5


def _palm_mutes(rng):
    """A riff on one low string."""
    beat, now, notes = rng.uniform(0.09, 0.18), 0.0, []
    string, position = int(rng.integers(0, 2)), int(rng.integers(0, 8))
    for _ in range(10):
        fret = position + int(rng.choice([0, 0, 0, 1, 3, 5]))
        notes.append(Note(now, string, fret, _held(rng, beat), _hardness(rng), muted=True))
        now += beat * rng.choice([1, 1, 2])
    return notes, now


def _muted_power_chords(rng):
    beat, now, notes = rng.uniform(0.1, 0.2), 0.0, []
    for _ in range(9):
        muted = bool(rng.random() < 0.75)
        length = beat * (1 if muted else 2)
        notes += _chord(
            rng, POWER_SHAPES, now, _held(rng, length), _hardness(rng), stroke=0.006, muted=muted
        )
        now += length
    return notes, now


def _lead(rng):
    """Fast notes in one position of the upper strings, many of them hammered."""
    notes, now, position = [], 0.0, int(rng.integers(3, HIGHEST_FRET - 4))
    for _ in range(10):
        seconds = rng.uniform(0.07, 0.3)
        string, fret = int(rng.integers(2, 6)), position + int(rng.choice([0, 2, 3, 5]))
        legato = bool(rng.random() < 0.4)
        notes.append(
            Note(
                now,
                string,
                min(fret, HIGHEST_FRET),
                _held(rng, seconds),
                _hardness(rng),
                legato=legato,
            )
        )
        now += seconds
    return notes, now


def _bends(rng):
    """Notes that are bent, slid or shaken."""
    notes = []
    for k in range(2):
        string, fret = int(rng.integers(1, 6)), int(rng.integers(3, HIGHEST_FRET - 4))
        note = Note(1.0 * k, string, fret, 1.0, _hardness(rng))
        begin = rng.uniform(0.05, 0.2)
        moves = (begin, begin + rng.uniform(0.1, 0.3))
        way = rng.integers(0, 3)
        if way == 0:
            note = replace(note, bend=float(rng.choice([0.5, 1.0, 2.0])), moves=moves)
        elif way == 1:
            note = replace(note, slide=int(rng.choice([-3, -2, 2, 4])), moves=moves)
        notes.append(replace(note, vibrato=rng.uniform(0.1, 0.4) if way == 2 else 0.0))
    return notes, 2.0


def _arpeggio(rng):
    """A chord picked string by string, up and down, and left to ring."""
    beat = rng.uniform(0.12, 0.28)
    full = [name for name, shape in CHORD_SHAPES.items() if shape.count(None) <= 1]
    chord = sorted(_chord(rng, full, 0.0, 1.2, 1.0), key=lambda note: note.string)
    order = [*chord, *chord[-2:0:-1]]
    notes = [replace(note, onset=k * beat, hardness=_hardness(rng)) for k, note in enumerate(order)]
    return notes, len(order) * beat


def _rest(rng):
    return [], rng.uniform(0.3, 0.55)


PHRASES = (
    _single_notes,
    _chords,
    _strumming,
    _ringing_chord,
    _palm_mutes,
    _muted_power_chords,
    _lead,
    _bends,
    _arpeggio,
    _rest,
)

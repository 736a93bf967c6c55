import functools

import numpy as np
import pytest

from profiler.capture import warmup
from profiler.capture.warmup import (
    LEVEL_LIMIT_DB,
    TAKE_SECONDS,
    WarmUp,
    WarmUpBurst,
    assess,
    change_to_come,
    warm_up,
    warm_up_plan,
)
from profiler.errors import SafetyStop, Silent
from profiler.rig.connect import connect
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface

RATE = 48_000


def approach(tau, by_db=1.0):
    """The level of an amp that has `by_db` still to go when it is switched on."""
    return lambda seconds: -20.0 - by_db * np.exp(-seconds / tau)


def noisy(level, *, noise=0.01, every=10.0, limit=1800.0, seed=0):
    """Times and levels of bursts that follow `level(seconds)`."""
    seconds = np.arange(0.0, limit, every)
    return seconds, level(seconds) + noise * np.random.default_rng(seed).standard_normal(
        len(seconds)
    )


def stable_at(seconds, levels, noise=0.01):
    """When the level is first called stable; infinity for never."""
    sigmas = np.full(len(levels), noise)
    for n in range(warmup.LEAST_BURSTS, len(levels) + 1):
        if change_to_come(seconds[:n], levels[:n], sigmas[:n], limit=LEVEL_LIMIT_DB).small:
            return seconds[n - 1]
    return np.inf


def bursts_of(seconds, levels, thds=None, *, noise=0.01, thd_noise=1e-5):
    thds = np.full(len(levels), 0.02) if thds is None else thds
    return tuple(
        WarmUpBurst(
            seconds=at,
            level_dbfs=level,
            level_sigma_db=noise,
            thd=thd,
            thd_sigma=thd_noise,
            level_change_db=level - levels[0],
        )
        for at, level, thd in zip(seconds, levels, thds, strict=True)
    )


def first_stable(bursts):
    """What is known when the amp is first called stable, or at the end."""
    for n in range(1, len(bursts) + 1):
        known = assess(bursts[:n])
        if known.stable_after_seconds is not None:
            return known
    return known


@pytest.mark.parametrize("tau", [30.0, 60.0, 150.0, 300.0, 600.0])
@pytest.mark.parametrize("by_db", [1.0, -1.0])
def test_finds_the_time_constant_and_the_change_to_come(tau, by_db):
    # noise of 0.01 dB: 10 % of the time constant; of the change, what the noise makes of it
    level = approach(tau, by_db)
    for seed in range(5):
        seconds, levels = noisy(level, limit=max(2.0 * tau, 150.0), seed=seed)
        found = change_to_come(seconds, levels, np.full(len(levels), 0.01), limit=0.05)
        assert found.time_constant_seconds == pytest.approx(tau, rel=0.2)
        to_come = level(seconds[-1] + TAKE_SECONDS) - level(seconds[-1])
        assert found.expected == pytest.approx(to_come, abs=0.02)
        assert abs(to_come) < found.at_most


def test_without_noise_the_time_constant_is_within_the_grid():
    seconds, levels = noisy(approach(240.0), noise=0.0, limit=600.0)
    found = change_to_come(seconds, levels, np.full(len(levels), 1e-3), limit=0.05)
    assert found.time_constant_seconds == pytest.approx(240.0, rel=0.03)


def test_a_straight_line_has_no_time_constant_and_goes_on():
    seconds, levels = noisy(lambda at: -20.0 - 0.06 / 60.0 * at, limit=300.0)
    found = change_to_come(seconds, levels, np.full(len(levels), 0.01), limit=0.05)
    assert found.time_constant_seconds is None
    assert found.expected == pytest.approx(-0.12, abs=0.02)
    assert not found.small


def test_stable_is_promised_neither_early_nor_absurdly_late():
    """Over 200 runs what comes after "stable" keeps the promise."""
    generator = np.random.default_rng(7)
    kept, waited = [], []
    for seed in range(200):
        tau = float(np.exp(generator.uniform(np.log(30.0), np.log(400.0))))
        level = approach(tau, generator.choice([-1.0, 1.0]) * generator.uniform(0.3, 1.5))
        noise = float(generator.choice([0.003, 0.01, 0.02]))
        seconds, levels = noisy(level, noise=noise, every=30.0, limit=3000.0, seed=seed)
        at = stable_at(seconds, levels, noise)
        to_come = np.abs(level(seconds + TAKE_SECONDS) - level(seconds))
        kept.append(np.interp(at, seconds, to_come) < LEVEL_LIMIT_DB)
        waited.append(at - seconds[np.argmax(to_come < LEVEL_LIMIT_DB)])
    assert np.mean(kept) >= 0.95
    assert np.median(waited) <= 240.0
    assert np.max(waited) <= 600.0


def test_a_slow_creep_behind_a_quick_one_is_not_overlooked():
    def level(seconds):
        return -20.0 - 0.5 * np.exp(-seconds / 40.0) - 0.5 * np.exp(-seconds / 600.0)

    for seed in range(10):
        seconds, levels = noisy(level, every=20.0, seed=seed)
        at = stable_at(seconds, levels)
        assert abs(level(at + TAKE_SECONDS) - level(at)) < LEVEL_LIMIT_DB
        assert at < 900.0


@pytest.mark.parametrize(("noise", "at_most"), [(0.001, 60.0), (0.01, 120.0), (0.03, 300.0)])
def test_a_steady_amp_is_stable_after_few_bursts(noise, at_most):
    for seed in range(10):
        seconds, levels = noisy(lambda at: np.full(len(at), -20.0), noise=noise, seed=seed)
        assert stable_at(seconds, levels, noise) <= at_most


def test_a_burst_that_somebody_played_into_changes_little():
    seconds, levels = noisy(approach(100.0), limit=400.0)
    clean = change_to_come(seconds, levels, np.full(len(levels), 0.01), limit=0.05)
    levels[[0, 7, 20]] += (2.0, -0.7, 3.0)
    played = change_to_come(seconds, levels, np.full(len(levels), 0.01), limit=0.05)
    assert played.time_constant_seconds == pytest.approx(clean.time_constant_seconds, rel=0.1)
    assert played.at_most == pytest.approx(clean.at_most, abs=0.02)


def test_the_newest_burst_is_never_taken_for_one_that_was_played_into():
    # it may be the first after a knob was turned
    seconds, levels = noisy(lambda at: np.full(len(at), -20.0), limit=200.0)
    levels[-1] += 0.5
    assert not change_to_come(seconds, levels, np.full(len(levels), 0.01), limit=0.05).small


@pytest.mark.parametrize("step_db", [0.3, -0.8, -6.0])
@pytest.mark.parametrize("tau", [60.0, 400.0])
def test_a_knob_that_is_turned_is_said_and_counted_anew(step_db, tau):
    seconds, levels = noisy(approach(tau), limit=260.0, seed=3)
    levels[seconds >= 200.0] += step_db
    known = assess(bursts_of(seconds, levels))
    assert known.stepped_at_seconds == 200.0
    assert "stepped at 3 min 20 s" in known.sentence
    assert known.stable_after_seconds is None or abs(known.level_db.expected) < LEVEL_LIMIT_DB


def test_after_a_step_nothing_is_promised_by_the_bursts_before_it():
    seconds, levels = noisy(lambda at: np.full(len(at), -20.0), noise=0.001, limit=250.0)
    levels[seconds >= 200.0] -= 0.8
    bursts = bursts_of(seconds, levels, noise=0.001)
    assert [assess(bursts[:n]).level_db is None for n in (23, 24, 25)] == [True, True, False]
    assert assess(bursts[:24]).sentence.endswith("at least 5 bursts are needed")
    assert abs(assess(bursts).level_db.expected) < 0.02


@pytest.mark.parametrize("tau", [30.0, 100.0, 600.0])
def test_an_amp_that_only_warms_up_is_not_accused_of_a_step(tau):
    for seed in range(10):
        seconds, levels = noisy(approach(tau), limit=600.0, seed=seed)
        levels[seed + 5] += 1.0  # somebody played
        assert assess(bursts_of(seconds, levels)).stepped_at_seconds is None


def test_distortion_that_creeps_is_waited_for_though_the_level_stands():
    seconds, levels = noisy(lambda at: np.full(len(at), -20.0), noise=0.001, limit=400.0)
    thds = 0.05 * (1.0 - 0.2 * np.exp(-seconds / 200.0))
    known = assess(bursts_of(seconds, levels, thds, noise=0.001))
    assert known.level_db.small
    assert known.stable_after_seconds is None
    # 0.01 exp(-390/200) (1 - exp(-120/200)) is 0.064 %, and the limit 0.073 %
    assert "the distortion (THD) may still change by 0.1" in known.sentence
    assert known.thd.expected == pytest.approx(6.4e-4, rel=0.05)
    assert known.thd.time_constant_seconds == pytest.approx(200.0, rel=0.1)


def test_distortion_that_noise_hides_does_not_keep_anyone_waiting():
    seconds, levels = noisy(lambda at: np.full(len(at), -20.0), noise=0.001, limit=100.0)
    thds = np.abs(1e-5 * np.random.default_rng(1).standard_normal(len(seconds)))
    known = first_stable(bursts_of(seconds, levels, thds, noise=0.001))
    assert known.stable_after_seconds <= 60.0


def test_an_amp_that_never_settles_is_said_to_go_on():
    seconds, levels = noisy(lambda at: -20.0 - 0.06 / 60.0 * at, limit=600.0)
    known = first_stable(bursts_of(seconds, levels))
    assert known.stable_after_seconds is None
    assert known.sentence.startswith("not stable yet: the level will fall by 0.12 dB")
    assert known.sentence.endswith("it does not slow down yet")


def test_says_when_it_will_be_stable():
    seconds, levels = noisy(approach(300.0), limit=300.0, noise=0.002)
    known = assess(bursts_of(seconds, levels, noise=0.002))
    assert known.sentence.startswith("not stable yet: the level will rise by 0.13 dB")
    # 300 ln(0.125 / 0.05) is 4 min 35 s
    assert "stable in about 5 min" in known.sentence


def test_a_few_bursts_say_nothing_yet():
    seconds, levels = noisy(approach(300.0), limit=40.0)
    known = assess(bursts_of(seconds, levels))
    assert (known.level_db, known.stable_after_seconds) == (None, None)
    assert "too early" in known.sentence


def test_is_kept_and_read_again(tmp_path):
    known = assess(bursts_of(*noisy(approach(60.0), limit=100.0)))
    known.save(tmp_path / "warmup.json")
    assert WarmUp.load_json(tmp_path / "warmup.json") == known
    assert known.schema_ == "ampscope.warmup/1"


# -- through an interface ---------------------------------------------------------------


def simulated(circuit="wire", **interface):
    settings = {"driver": "simulated", "noise_rms_dbfs": -90.0} | interface
    return Rig(
        name="mine",
        maximum_send_dbfs=-3.0,
        interface=SimulatedInterface.model_validate(settings),
        chain=Chain(circuit=circuit),
    )


def run(rig, **options):
    told = []
    found = warm_up(rig, connect(rig), on_burst=told.append, **options)
    return found, told


@pytest.mark.parametrize("latency", [32.0, 1234.567, 10_000.0])
def test_a_wire_is_stable_soon_at_any_latency_and_read_right(latency):
    rig = simulated(round_trip_samples=latency, gain_db=-6.0, noise_rms_dbfs=-80.0)
    found, told = run(rig)
    assert found.stable_after_seconds <= 100.0
    assert told[-1] == found
    assert [len(known.bursts) for known in told] == list(range(1, len(told) + 1))
    for burst in found.bursts:
        assert burst.level_dbfs == pytest.approx(-26.0, abs=0.01)
    assert [b.seconds for b in found.bursts] == [10.0 * k for k in range(len(found.bursts))]


@functools.cache
def warming():
    """A wire that creeps by 0.8 dB over two minutes, of which it is told a burst every 3 s.

    The simulator's creep is an exponential whose time constant is half of the whole.
    """
    rig = simulated(faults={"warm-up": {"strength": 0.8}})
    return run(rig, every_seconds=3.0, limit_seconds=120.0)


def test_an_interface_whose_amp_warms_up_is_measured():
    found, _ = warming()
    assert found.stable_after_seconds is None
    tau = 60.0
    risen = 0.8 * (1 - np.exp(-117.0 / tau)) / (1 - np.exp(-2.0))
    assert found.bursts[-1].level_change_db == pytest.approx(risen, abs=0.02)
    assert found.time_constant_seconds == pytest.approx(tau, rel=0.1)


def test_while_it_warms_up_it_is_said_to():
    _, told = warming()
    early = told[8].sentence
    assert "not stable yet" in early
    assert "the level will rise" in early


def test_a_tube_amp_in_software_is_stable_from_the_beginning():
    found, _ = run(simulated("tweed"), every_seconds=3.0)
    assert found.stable_after_seconds <= 30.0
    assert found.bursts[-1].thd == pytest.approx(found.bursts[0].thd, rel=0.01)
    assert found.bursts[0].thd > 0.001


def test_nothing_that_comes_back_is_refused_after_a_minute():
    told = []
    rig = simulated(gain_db=-80.0)
    with pytest.raises(Silent, match=r"nothing came back of 6 bursts.*standby"):
        warm_up(rig, connect(rig), on_burst=told.append)
    assert "standby" in told[-1].sentence
    assert told[-1].bursts == ()


def test_a_return_that_clips_ends_it():
    # it would look steady
    rig = simulated(faults={"return-clipped": {"strength": -25.0}})
    with pytest.raises(SafetyStop, match=r"clipped at -25\.0 dBFS.*turn the input gain"):
        warm_up(rig, connect(rig))


def test_a_return_that_feeds_the_send_ends_it():
    rig = simulated(faults={"feedback": {"strength": 1.0}})
    with pytest.raises(SafetyStop, match="the return feeds the send"):
        warm_up(rig, connect(rig))


def test_bursts_above_the_ceiling_make_no_sound():
    rig = simulated().model_copy(update={"maximum_send_dbfs": -30.0})
    with pytest.raises(SafetyStop, match="above the rig's ceiling of -30 dBFS"):
        warm_up(rig, connect(rig))


class Interrupted:
    """A wire at which somebody presses Ctrl-C after so many seconds."""

    sample_rate, channels = RATE, 1

    def __init__(self, after_seconds):
        self._last = after_seconds * RATE
        self.played = 0

    def play_record(self, stimulus, frames, on_block, watch=None):
        for block in stimulus:
            on_block(Block(block[:, None], self.played))
            self.played += len(block)
            if self.played >= self._last:
                raise KeyboardInterrupt
        return StreamReport("simulated", "wire", RATE, frames, 1)


def test_an_interruption_leaves_what_was_known_with_the_one_who_listened():
    told = []
    with pytest.raises(KeyboardInterrupt):
        warm_up(simulated(), Interrupted(25.0), on_burst=told.append)
    assert [burst.seconds for burst in told[-1].bursts] == [0.0, 10.0, 20.0]


def test_the_sound_ends_when_the_amp_is_stable():
    interface = Interrupted(3600.0)
    found = warm_up(simulated(), interface)
    assert interface.played / RATE == found.stable_after_seconds


def test_the_plan_is_quiet_bursts_at_equal_distances():
    plan = warm_up_plan(RATE, every_seconds=5.0, limit_seconds=60.0, level_dbfs=-30.0)
    assert plan.seconds == pytest.approx(60.0)
    assert plan.peak_dbfs == -30.0
    assert np.diff([p.start for p in plan.of_kind("probe")]).tolist() == [5 * RATE] * 11


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"level_dbfs": -12.0}, "level_dbfs=-12, expected at most -20"),
        ({"every_seconds": 1.0}, "every_seconds=1 "),
        ({"limit_seconds": 5.0}, "limit_seconds=5"),
    ],
)
def test_what_cannot_be_meant_is_a_wrong_call(settings, said):
    with pytest.raises(ValueError, match=said):
        warm_up_plan(RATE, **settings)


def test_hours_need_no_more_memory_than_minutes():
    plan = warm_up_plan(RATE, limit_seconds=4 * 3600.0)
    blocks = warmup._stimulus(plan)
    assert len(next(blocks)) == 10 * RATE
    assert 1 + sum(1 for _ in blocks) == 4 * 360

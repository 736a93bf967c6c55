import itertools
import tracemalloc

import numpy as np
import pytest

from profiler.circuit.device import create
from profiler.errors import DefinitionError, SafetyStop
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.rig.simulated import Simulated

RATE = 48_000
SILENT = -400.0  # dBFS of the converters' noise: below what float32 holds


def _rig(circuit="wire", *, controls=None, ceiling=0.0, **settings):
    settings = {"noise_rms_dbfs": SILENT, "low_cut_hz": 0.0} | settings
    return Rig(
        name="test",
        maximum_send_dbfs=ceiling,
        interface=SimulatedInterface(driver="simulated", **settings),
        chain=Chain(circuit=circuit, controls=controls or {}),
    )


def _record(interface, stimulus, frames=None):
    blocks = []
    frames = len(stimulus) if frames is None else frames
    report = interface.play_record([stimulus], frames, blocks.append)
    return np.concatenate([block.samples for block in blocks]), blocks, report


def _tone(frequency, frames=9600, level=0.5):
    return level * np.sin(2 * np.pi * frequency * np.arange(frames) / RATE)


def _transfer(interface, frequency, frames=9600):
    """Complex gain at a frequency, over whole periods."""
    stimulus = _tone(frequency, frames)
    response = _record(interface, stimulus)[0][:, 0]
    part = slice(frames * 4 // 10, frames * 9 // 10)  # clear of onset and end
    phasor = np.exp(-2j * np.pi * frequency * np.arange(frames) / RATE)[part]
    return np.sum(response[part] * phasor) / np.sum(stimulus[part] * phasor)


@pytest.mark.parametrize("round_trip", [32.0, 100.5, 1234.567, 2000.999])
def test_a_wire_lies_behind_by_the_round_trip_and_nothing_else(round_trip):
    interface = Simulated(_rig(round_trip_samples=round_trip))
    for frequency in (50.0, 1000.0, 10_000.0, 21_600.0):
        gain = _transfer(interface, frequency)
        residual = np.angle(gain * np.exp(2j * np.pi * frequency / RATE * round_trip))
        assert abs(residual / (2 * np.pi * frequency / RATE)) < 1e-5 * max(1, 1000 / frequency)
        assert abs(abs(gain) - 1.0) < 1e-5  # 100 dB


@pytest.mark.parametrize("circuit", ["tweed", "drive"])
def test_a_device_costs_no_delay_of_its_own(circuit):
    rig = _rig(circuit, round_trip_samples=500.0)
    stimulus = np.random.default_rng(0).standard_normal(6000) * 0.05
    response = _record(Simulated(rig), stimulus)[0][:, 0]
    device = create(circuit, {}, RATE)
    padded = np.concatenate((stimulus, np.zeros(device.latency_samples)))
    truth = device.process(padded)[device.latency_samples :]
    error = response[500:] - truth[:-500]
    # the converters' edge takes what is above 0.45 of the sample rate
    low = np.fft.rfftfreq(5500) < 0.4
    spectrum = np.fft.rfft(error * np.hanning(5500))[low]
    assert np.sum(np.abs(spectrum) ** 2) < 1e-9 * np.sum(np.abs(np.fft.rfft(truth[:-500])) ** 2)


def test_a_whole_round_trip_without_a_high_cut_changes_no_sample():
    stimulus = np.random.default_rng(0).uniform(-0.9, 0.9, 5000).astype(np.float32)
    interface = Simulated(_rig(round_trip_samples=77.0, high_cut_ratio=0.5))
    response = _record(interface, stimulus)[0][:, 0]
    np.testing.assert_allclose(response[77:], stimulus[:-77], atol=1e-7)
    assert np.max(np.abs(response[:77])) < 1e-7


def test_gain_and_polarity_belong_to_the_return_not_to_the_loopback():
    interface = Simulated(
        _rig(gain_db=-6.0, polarity=-1, loopback_channel=2, round_trip_samples=100.0)
    )
    assert interface.channels == 2
    stimulus = _tone(1000.0)
    response = _record(interface, stimulus)[0]
    np.testing.assert_allclose(response[:, 0], -(10 ** (-6 / 20)) * response[:, 1], atol=1e-6)
    np.testing.assert_allclose(response[400:, 1], stimulus[300:-100], atol=1e-5)


def test_the_loopback_is_the_send_without_the_device():
    wire = _record(Simulated(_rig("wire")), _tone(700.0))[0]
    amp = _record(Simulated(_rig("tweed", loopback_channel=2)), _tone(700.0))[0]
    np.testing.assert_allclose(amp[:, 1], wire[:, 0], atol=1e-7)


class _Taps:
    """A cabinet of a few taps as a stream."""

    def __init__(self, taps):
        self._taps, self._past = np.array(taps), np.zeros(len(taps) - 1)

    def process(self, block):
        joined = np.concatenate((self._past, block))
        self._past = joined[len(block) :]
        return np.convolve(joined, self._taps, "valid")


@pytest.mark.parametrize("loopback", [None, 2])
@pytest.mark.parametrize("circuit", ["wire", "drive"])
def test_the_di_is_what_goes_to_the_cabinet_and_the_last_column(circuit, loopback):
    taps = [0.7, 0.0, -0.4, 0.1]
    stimulus = _tone(700.0)
    settings = {"gain_db": -6.0, "polarity": -1, "round_trip_samples": 100.5}
    bare = _record(Simulated(_rig(circuit, **settings)), stimulus)[0][:, 0]
    rig = _rig(circuit, loopback_channel=loopback, di_channel=3, **settings)
    interface = Simulated(rig, cabinet=lambda rate: _Taps(taps))
    recorded = _record(interface, stimulus)[0]
    assert recorded.shape[1] == interface.channels == (2 if loopback is None else 3)
    # neither the gain nor the polarity of the return is the DI's
    gain = -(10 ** (-6 / 20))
    np.testing.assert_allclose(recorded[:, -1], bare / gain, atol=1e-6)
    np.testing.assert_allclose(recorded[:, 0], np.convolve(bare, taps)[: len(bare)], atol=1e-6)
    if loopback is not None:
        wire = _record(Simulated(_rig(round_trip_samples=100.5)), stimulus)[0]
        np.testing.assert_allclose(recorded[:, 1], wire[:, 0], atol=1e-7)


def test_without_a_cabinet_the_di_is_the_return():
    recorded = _record(Simulated(_rig("drive", di_channel=2)), _tone(700.0))[0]
    np.testing.assert_allclose(recorded[:, 0], recorded[:, 1], rtol=0, atol=1e-15)


def test_the_converters_couple_by_a_first_order_high_pass():
    interface = Simulated(_rig(low_cut_hz=20.0, round_trip_samples=100.0))
    for frequency in (20.0, 50.0, 500.0):
        gain = _transfer(interface, frequency, frames=96_000)
        truth = 1j * frequency / (1j * frequency + 20.0)
        assert gain * np.exp(2j * np.pi * frequency / RATE * 100.0) == pytest.approx(
            truth, abs=1e-4
        )


def test_the_converters_band_ends_steeply_and_without_delay():
    interface = Simulated(_rig(high_cut_ratio=0.3, round_trip_samples=100.0))
    assert abs(_transfer(interface, 0.3 * RATE)) == pytest.approx(1.0, abs=1e-5)
    assert abs(_transfer(interface, 0.352 * RATE)) < 1e-5
    at_edge = _transfer(interface, 0.325 * RATE) * np.exp(2j * np.pi * 0.325 * 100.0)
    assert np.angle(at_edge) == pytest.approx(0.0, abs=1e-4)


def test_noise_has_the_stated_level_and_is_another_one_in_each_channel_and_take():
    rig = _rig(noise_rms_dbfs=-60.0, loopback_channel=2)
    interface = Simulated(rig)
    takes = [_record(interface, np.zeros(50_000))[0] for _ in range(2)]
    noises = [take[:, channel] for take in takes for channel in (0, 1)]
    for noise in noises:
        # the RMS of n samples is known to 1/sqrt(2 n): 0.3 %, four times that allowed
        assert np.sqrt(np.mean(np.square(noise, dtype=float))) == pytest.approx(1e-3, rel=0.013)
    for one, other in itertools.combinations(noises, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.02  # 1/sqrt(n) is 0.0045
    again = Simulated(rig)
    for take in takes:
        np.testing.assert_array_equal(_record(again, np.zeros(50_000))[0], take)
    other_seed = Simulated(_rig(noise_rms_dbfs=-60.0, loopback_channel=2, seed=1))
    assert not np.array_equal(_record(other_seed, np.zeros(50_000))[0], takes[0])


@pytest.mark.parametrize("block_size", [1, 100, 256, 5000, 20_000])
def test_blocks_are_the_drivers_and_hold_exactly_the_frames(block_size):
    frames = 12_345
    stimulus = np.random.default_rng(0).uniform(-0.5, 0.5, frames)
    rig = _rig("drive", block_size=block_size, noise_rms_dbfs=-80.0)
    samples, blocks, report = _record(Simulated(rig), stimulus)
    reference = _record(Simulated(_rig("drive", noise_rms_dbfs=-80.0)), stimulus)[0]
    np.testing.assert_array_equal(samples, reference)
    assert samples.shape == (frames, 1)
    assert samples.dtype == np.float32
    starts = np.cumsum([0, *(len(block.samples) for block in blocks)])
    assert [block.frame for block in blocks] == list(starts[:-1])
    assert report.frames == frames
    assert report.blocks == len(blocks)
    assert report.block_sizes == tuple(sorted({len(block.samples) for block in blocks}))
    assert (report.driver, report.device, report.sample_rate) == ("simulated", "drive", RATE)
    assert report.flagged == ()


def test_how_the_stimulus_is_cut_changes_nothing():
    stimulus = np.random.default_rng(0).uniform(-0.5, 0.5, 9000).astype(np.float32)
    whole = _record(Simulated(_rig("tweed", loopback_channel=2)), stimulus)[0]
    blocks = []
    parts = np.split(stimulus, [1, 7, 300, 5000])
    Simulated(_rig("tweed", loopback_channel=2)).play_record(iter(parts), 9000, blocks.append)
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), whole)


def test_every_take_begins_with_the_device_at_rest():
    interface = Simulated(_rig("tweed"))
    first = _record(interface, _tone(440.0))[0]
    # but for noise at -400 dBFS
    np.testing.assert_allclose(_record(interface, _tone(440.0))[0], first, rtol=0, atol=1e-15)


def test_a_sample_that_is_no_number_is_not_played():
    stimulus = _tone(440.0, 20_000)
    stimulus[15_000] = np.nan
    blocks = []
    with pytest.raises(SafetyStop, match=r"sample 15000 of the stimulus is not a number"):
        Simulated(_rig()).play_record(np.split(stimulus, 20), 20_000, blocks.append)
    recorded = sum(len(block.samples) for block in blocks)
    assert 0 < recorded <= 15_000  # what came back until then was handed over


def test_a_sample_above_the_ceiling_is_not_played():
    loud = _tone(440.0, level=0.51)
    with pytest.raises(SafetyStop, match=r"peaks at -5\.85 dBFS, above .* maximum_send_dbfs -6"):
        _record(Simulated(_rig(ceiling=-6.0)), loud)
    ceiling = np.float32(10 ** (-6 / 20))
    at_the_ceiling = np.full(1000, np.nextafter(ceiling, np.float32(1.0)))  # but for rounding
    _record(Simulated(_rig(ceiling=-6.0)), at_the_ceiling)


def test_a_stimulus_that_is_too_short_is_a_bug():
    with pytest.raises(ValueError, match="frames=2000, but the stimulus has only 1000"):
        _record(Simulated(_rig()), np.zeros(1000), frames=2000)


def test_no_more_of_a_stimulus_is_played_than_was_asked_for():
    loud_end = np.concatenate((np.zeros(1000), np.full(1000, 2.0)))
    assert len(_record(Simulated(_rig()), loud_end, frames=1000)[0]) == 1000


def test_an_interrupt_leaves_what_was_recorded():
    def stimulus():
        yield from np.split(_tone(440.0, 48_000), 48)
        raise KeyboardInterrupt

    blocks = []
    with pytest.raises(KeyboardInterrupt):
        Simulated(_rig()).play_record(stimulus(), 96_000, blocks.append)
    recorded = sum(len(block.samples) for block in blocks)
    assert 47_000 < recorded <= 48_000


def test_an_interrupt_by_the_listener_leaves_what_was_recorded():
    blocks = []

    def on_block(block):
        blocks.append(block)
        if len(blocks) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Simulated(_rig()).play_record([_tone(440.0, 48_000)], 48_000, on_block)
    assert len(blocks) == 20


def _nothing_wrong(samples, first_frame):
    return None


class _Alarm:
    """Keeps what it watches, and raises the alarm at a frame."""

    def __init__(self, frame=np.inf):
        self._frame = frame
        self.seen = []

    def __call__(self, samples, first_frame):
        self.seen.append((first_frame, samples.copy()))
        due = first_frame <= self._frame < first_frame + len(samples)
        return SafetyStop("the return is too loud") if due else None


@pytest.mark.parametrize("circuit", ["wire", "tweed"])
def test_a_watch_sees_every_block_before_it_is_handed_over_and_changes_nothing(circuit):
    rig = _rig(circuit, loopback_channel=2, noise_rms_dbfs=-80.0)
    stimulus = np.random.default_rng(0).uniform(-0.5, 0.5, 12_345)
    alarm = _Alarm()
    blocks = []

    def on_block(block):
        assert alarm.seen[-1][0] == block.frame
        blocks.append(block)

    Simulated(rig).play_record([stimulus], 12_345, on_block, alarm)
    assert [first for first, _ in alarm.seen] == [block.frame for block in blocks]
    for (_, seen), block in zip(alarm.seen, blocks, strict=True):
        np.testing.assert_array_equal(seen, block.samples)
    samples = np.concatenate([block.samples for block in blocks])
    np.testing.assert_array_equal(samples, _record(Simulated(rig), stimulus)[0])


@pytest.mark.parametrize("block_size", [64, 256, 1000])
@pytest.mark.parametrize("cuts", [[], [1, 77, 3000, 9000]])
def test_an_alarm_fades_the_send_from_the_next_block_on(block_size, cuts):
    """A wire of 200 samples shows what was sent; 10 ms are 480 samples."""
    rig = _rig(round_trip_samples=200.0, high_cut_ratio=0.5, block_size=block_size)
    blocks = []
    alarm = _Alarm(10_000)
    stimulus = np.split(np.full(48_000, 0.5), cuts)
    with pytest.raises(SafetyStop, match="the return is too loud"):
        Simulated(rig).play_record(stimulus, 48_000, blocks.append, alarm)
    recorded = np.concatenate([block.samples for block in blocks])[:, 0]
    decided = (10_000 // block_size + 1) * block_size  # one after the block that gave the alarm
    assert decided + 480 <= len(recorded) < decided + 480 + block_size
    assert alarm.seen[-1][0] == decided - block_size  # nothing is decided twice
    sent = recorded[200:]
    np.testing.assert_allclose(sent[:decided], 0.5, atol=1e-6)
    fading = sent[decided:]
    gain = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, 481) / 480)
    np.testing.assert_allclose(
        fading, 0.5 * np.append(gain, np.zeros(1000))[: len(fading)], atol=1e-6
    )


@pytest.mark.parametrize(
    ("circuit", "faults", "watch"),
    [
        ("wire", {}, None),
        ("drive", {}, None),
        ("wire", {}, _nothing_wrong),
        ("wire", {"clock-drift": {"strength": 100.0}, "direct-monitoring": {}}, None),
        ("wire", {"bypass": {}, "time-effect": {"variant": "delay"}, "enhancement": {}}, None),
        ("wire", {"feedback": {}, "lost-block": {}, "system-resampling": {}}, None),
    ],
)
def test_a_long_take_needs_no_more_memory_than_a_short_one(circuit, faults, watch):
    def peak(frames):
        settings = {"sample_rate": 192_000, "block_size": 2048, "faults": faults}
        interface = Simulated(_rig(circuit, loopback_channel=2, **settings))
        stimulus = itertools.repeat(np.zeros(65_536, np.float32))
        tracemalloc.start()
        interface.play_record(stimulus, frames, lambda block: None, watch)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10_000)  # loads and compiles
    long = peak(1_000_000)
    assert long < 24e6
    assert long < 1.2 * peak(300_000)


def test_a_rig_without_a_circuit_is_refused():
    with pytest.raises(DefinitionError, match=r"no chain\.circuit: expected wire, tweed or drive"):
        Simulated(_rig(None))


def test_a_control_that_is_not_there_is_refused_before_anything_is_played():
    with pytest.raises(DefinitionError, match="no control 'presence'"):
        Simulated(_rig("tweed", controls={"presence": 5.0}))

from pathlib import Path

import numpy as np
import pytest

from profiler import wav
from profiler.capture.alignment import load_aligned
from profiler.capture.importing import coarse_delay, import_pair
from profiler.errors import CaptureError, NotAligned
from profiler.rig.rig import FileInterface, Rig
from profiler.stimulus.plan import (
    Guitar,
    Marker,
    Noise,
    SignalDefinition,
    Silence,
    plan_path,
)
from profiler.stimulus.synthesis import render

RATE = 48_000
DELAY = 700


def bent(signal):
    """A device of its own: an asymmetric clipper."""
    return (0.5 * np.tanh(4.0 * signal + 0.3) - 0.5 * np.tanh(0.3)).astype(np.float32)


@pytest.fixture(scope="module")
def plan():
    def marker(name):
        return Marker(name=name, kind="marker", use="align", level_dbfs=-12.0)

    return SignalDefinition(
        name="short",
        segments=(
            Silence(name="pre", kind="silence", use="align", seconds=0.3),
            marker("head"),
            Noise(name="noise", kind="noise", use="train", seconds=2.0),
            Guitar(name="guitar", kind="guitar", use="validate", seconds=2.0),
            marker("tail"),
            Silence(name="post", kind="silence", use="align", seconds=0.5),
        ),
    ).plan(RATE)


@pytest.fixture(scope="module")
def pair(plan):
    """What is played, and what a device answers `DELAY` samples later."""
    stimulus = render(plan)
    response = np.concatenate([np.zeros(DELAY, np.float32), bent(stimulus)])[: len(stimulus)]
    response += 1e-5 * np.random.default_rng(0).standard_normal(len(response)).astype(np.float32)
    return stimulus, response


@pytest.fixture
def imported(plan, pair, tmp_path):
    """Import the pair with something done to its files."""

    def run(
        response=None,
        *,
        stimulus=None,
        with_plan=True,
        rate=RATE,
        subtype="FLOAT",
        accepted=(),
        **facts,
    ):
        played, recorded = tmp_path / "played.wav", tmp_path / "recorded.wav"
        wav.write(played, pair[0] if stimulus is None else stimulus, RATE)
        if with_plan:
            plan.save(plan_path(played))
        wav.write(recorded, pair[1] if response is None else response, rate, subtype=subtype)
        interface = FileInterface(
            driver="file", stimulus=str(played), response=str(recorded), **facts
        )
        rig = Rig(name="pair", maximum_send_dbfs=0.0, interface=interface)
        return import_pair(rig, tmp_path / "c", accepted=accepted)

    return run


def delay_of(folder):
    return load_aligned(folder).alignment.delay_samples


def test_a_clean_pair_is_taken_as_it_is(imported, pair):
    folder = imported()
    assert folder.record().repairs == ()
    np.testing.assert_array_equal(wav.read(folder.response_path)[0][:, 0], pair[1])
    assert delay_of(folder) == pytest.approx(DELAY, abs=0.1)


@pytest.mark.parametrize("shift", [-DELAY - 200, -DELAY, 40_000, 10 * RATE])
def test_an_offset_of_the_export_is_taken_out_and_told(shift, imported, pair):
    response = pair[1][-shift:] if shift < 0 else np.pad(pair[1], (shift, 0))
    folder = imported(response)
    aligned = load_aligned(folder)
    assert any("moved" in repair for repair in folder.record().repairs) == (
        shift < -DELAY or shift > RATE // 2
    )
    # what answers the stimulus is the same device, to the noise and the fraction
    expected = bent(pair[0])[RATE : 4 * RATE]
    error = aligned.response[RATE : 4 * RATE] - expected
    assert np.sum(error**2) / np.sum(expected**2) < 3e-4  # 0.1 samples, as alignment promises


def test_a_longer_response_is_cut_and_told(imported, pair):
    folder = imported(np.pad(pair[1], (0, 2 * RATE)))
    assert "2.00 s longer" in folder.record().repairs[0]
    assert len(load_aligned(folder).response) == len(pair[0])


def test_a_response_that_lacks_only_its_silent_end_is_padded_and_told(imported, pair):
    folder = imported(pair[1][: -RATE // 4])
    assert "0.250 s shorter" in folder.record().repairs[0]
    assert delay_of(folder) == pytest.approx(DELAY, abs=0.1)


def test_a_response_shorter_than_the_stimulus_is_refused(imported, pair, tmp_path):
    with pytest.raises(CaptureError, match=r"ends 2\.\d\d s before"):
        imported(pair[1][: -RATE * 5 // 2])
    assert not (tmp_path / "c").exists()


def test_equal_channels_are_one(imported, pair):
    folder = imported(np.stack([pair[1]] * 2, axis=1))
    assert folder.record().repairs == ("response: 2 channels, channel 1 is used",)


def test_different_channels_need_a_choice(imported, pair):
    other = 0.5 * pair[1]
    with pytest.raises(CaptureError, match=r"2 different channels .*--channel"):
        imported(np.stack([other, pair[1]], axis=1))


def test_the_chosen_channel_is_the_one_that_is_used(imported, pair):
    folder = imported(np.stack([0.5 * pair[1], pair[1]], axis=1), return_channel=2)
    np.testing.assert_array_equal(wav.read(folder.response_path)[0][:, 0], pair[1])


def test_a_channel_that_is_not_there_is_refused(imported):
    with pytest.raises(CaptureError, match="there is no channel 3"):
        imported(return_channel=3)


def test_a_24_bit_export_aligns_alike(imported):
    assert delay_of(imported(subtype="PCM_24")) == pytest.approx(DELAY, abs=0.1)


def test_a_user_who_knows_the_delay_is_believed(imported):
    folder = imported(delay_samples=DELAY + 0.25)
    alignment = load_aligned(folder).alignment
    assert alignment.delay_samples == DELAY + 0.25
    assert alignment.reference == "given"


def test_material_of_the_users_own_is_split_in_time(imported, plan):
    folder = imported(with_plan=False)
    uses = [placed.segment.use for placed in folder.record().plan.placed()]
    assert uses == ["train", "validate", "test"]
    placed = folder.record().plan.placed()
    assert placed[0].stop == pytest.approx(0.8 * plan.frames, abs=1)
    assert placed[-1].stop == plan.frames
    alignment = load_aligned(folder).alignment
    # without markers, distortion that a cable would not make moves the delay: sigma says so
    assert abs(alignment.delay_samples - DELAY) < alignment.sigma_samples


def test_a_level_changed_on_the_way_is_noted_in_the_plan(imported, pair):
    quieter = (0.5 * pair[0]).astype(np.float32)
    response = np.pad(bent(quieter), (DELAY, 0))[: len(quieter)]
    folder = imported(response, stimulus=quieter)
    assert "its level is -6.02 dB re the plan" in folder.record().repairs[0]
    assert folder.record().plan.gain_db == pytest.approx(-6.02, abs=0.001)


def test_a_stimulus_that_is_not_the_plans_is_refused(imported, pair):
    with pytest.raises(CaptureError, match="is not the signal that"):
        imported(stimulus=pair[0][::-1].copy())


def test_a_stimulus_that_was_cut_is_refused(imported, pair):
    with pytest.raises(CaptureError, match="use the WAV as it was made, uncut"):
        imported(stimulus=pair[0][:-100])


def test_a_response_with_a_piece_missing_is_refused_with_the_file(imported, pair, tmp_path):
    cut = 2 * RATE
    response = np.delete(pair[1], slice(cut, cut + 256))
    with pytest.raises(NotAligned, match=r"recorded\.wav: .*256 samples"):
        imported(np.pad(response, (0, 256)))
    assert not (tmp_path / "c").exists()


def test_what_the_user_accepts_is_imported_and_written_down(imported, pair):
    response = np.pad(np.delete(pair[1], slice(2 * RATE, 2 * RATE + 256)), (0, 256))
    with pytest.raises(NotAligned) as refusal:
        imported(response)
    assert (refusal.value.fault, refusal.value.size) == ("lost-block", 256)
    folder = imported(response, accepted=("lost-block", "clock-drift"))
    assert folder.record().accepted == ("clock-drift", "lost-block")
    assert delay_of(folder) == pytest.approx(DELAY, abs=256 + 1)


def test_a_silent_stimulus_is_refused(imported, pair):
    with pytest.raises(CaptureError, match="only silence"):
        imported(stimulus=0 * pair[0], with_plan=False)


@pytest.mark.parametrize("delay", [-5_000, -3, 0, 17, 250_000])
def test_the_coarse_delay_is_found_wherever_it_is(delay):
    generator = np.random.default_rng(3)
    played = generator.standard_normal(3 * RATE)
    line = np.zeros(12 * RATE)
    line[RATE : RATE + len(played)] = np.tanh(-3 * played)
    recorded = line[RATE - delay :] if delay <= RATE else np.pad(line, (delay - RATE, 0))
    assert coarse_delay(played, recorded, RATE) == pytest.approx(delay, abs=1)


def test_the_users_files_are_not_touched(imported, tmp_path):
    imported()
    assert sorted(path.name for path in Path(tmp_path).glob("*.wav")) == [
        "played.wav",
        "recorded.wav",
    ]

import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from profiler import wav
from profiler.errors import CaptureError, ProfilerError

SAMPLE_RATE = 48_000


def noise(frames, channels=1, seed=0):
    shape = frames if channels == 1 else (frames, channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def one_line(refusal):
    return "\n" not in str(refusal.value)


@pytest.mark.parametrize("channels", [1, 2])
def test_float_samples_come_back_bit_for_bit(tmp_path, channels):
    samples = noise(1000, channels)
    wav.write(tmp_path / "x.wav", samples, SAMPLE_RATE)
    read, sample_rate = wav.read(tmp_path / "x.wav")
    assert sample_rate == SAMPLE_RATE
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, samples.reshape(1000, channels))


def test_samples_above_full_scale_come_back_unclipped(tmp_path):
    samples = 3 * noise(100)
    wav.write(tmp_path / "x.wav", samples, SAMPLE_RATE)
    np.testing.assert_array_equal(wav.read_mono(tmp_path / "x.wav")[0], samples)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_integer_samples_come_back_within_half_a_step(tmp_path, subtype, bits):
    samples = 0.99 * noise(1000)
    wav.write(tmp_path / "x.wav", samples, SAMPLE_RATE, subtype=subtype)
    read, _ = wav.read_mono(tmp_path / "x.wav")
    # one step, as libsndfile scales by 2^(bits-1) - 1 one way and 2^(bits-1) the other
    np.testing.assert_allclose(read, samples, atol=2.0 ** (1 - bits))


def test_a_file_written_elsewhere_is_read(tmp_path):
    # 16-bit stereo, header by hand
    frames = np.array([[1, -2], [16384, -32768]], dtype="<i2")
    data = frames.tobytes()
    fmt = struct.pack("<HHIIHH", 1, 2, 44_100, 44_100 * 4, 4, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    samples, sample_rate = wav.read(tmp_path / "x.wav")
    np.testing.assert_array_equal(samples, frames / 32768)
    assert sample_rate == 44_100
    assert wav.header(tmp_path / "x.wav") == wav.Header(2, 2, 44_100, "PCM_16")


def test_the_blocks_of_a_file_are_the_file(tmp_path):
    samples = noise(10_000, channels=2)
    wav.write(tmp_path / "x.wav", samples, SAMPLE_RATE)
    blocks = list(wav.blocks(tmp_path / "x.wav", frames=4096))
    assert [len(block) for block in blocks] == [4096, 4096, 1808]
    np.testing.assert_array_equal(np.concatenate(blocks), samples)


@pytest.mark.parametrize("reader", [wav.read, wav.read_mono, lambda p: list(wav.blocks(p))])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_a_number_is_refused_with_its_place(tmp_path, reader, bad):
    samples = noise(wav.BLOCK_FRAMES + 100)
    samples[wav.BLOCK_FRAMES + 5] = bad
    wav.write(tmp_path / "x.wav", samples, SAMPLE_RATE)
    with pytest.raises(CaptureError, match=r"x\.wav: sample 65541 is not a number") as refusal:
        reader(tmp_path / "x.wav")
    assert one_line(refusal)


@pytest.mark.parametrize("reader", [wav.read, wav.read_mono, lambda p: list(wav.blocks(p))])
def test_an_empty_file_is_refused(tmp_path, reader):
    wav.write(tmp_path / "x.wav", np.empty(0, np.float32), SAMPLE_RATE)
    with pytest.raises(CaptureError, match=r"x\.wav: is empty") as refusal:
        reader(tmp_path / "x.wav")
    assert one_line(refusal)


def test_a_stereo_file_is_refused_where_mono_is_due(tmp_path):
    wav.write(tmp_path / "x.wav", noise(10, channels=2), SAMPLE_RATE)
    with pytest.raises(CaptureError, match="has 2 channels, expected mono") as refusal:
        wav.read_mono(tmp_path / "x.wav")
    assert one_line(refusal)


@pytest.mark.parametrize("reader", [wav.read, wav.read_mono, wav.blocks])
def test_another_sample_rate_is_refused_with_both(tmp_path, reader):
    wav.write(tmp_path / "x.wav", noise(10), 44_100)
    with pytest.raises(CaptureError, match="is at 44100 Hz, expected 48000 Hz") as refusal:
        list(reader(tmp_path / "x.wav", sample_rate=48_000))
    assert one_line(refusal)


@pytest.mark.parametrize("reader", [wav.read, wav.header])
@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all", b"\x00" * 1000])
def test_what_is_no_audio_is_refused(tmp_path, reader, content):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(CaptureError, match="cannot be read as audio") as refusal:
        reader(tmp_path / "x.wav")
    assert one_line(refusal)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CaptureError, match=r"x\.wav: .*no such file"):
        wav.read(tmp_path / "x.wav")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="cannot be read as audio") as refusal:
        wav.read(tmp_path)
    assert one_line(refusal)


def test_what_was_written_before_a_crash_can_be_read(tmp_path):
    path = tmp_path / "x.wav"
    program = """
import os, sys
import numpy as np
from profiler import wav
file = wav.Writer(sys.argv[1], 48_000, 2)
for block in range(7):
    file.write(np.full((100, 2), block / 8, dtype=np.float32))
os._exit(9)  # without closing anything
"""
    crashed = subprocess.run([sys.executable, "-c", program, path])
    assert crashed.returncode == 9
    samples, _ = wav.read(path)
    np.testing.assert_array_equal(samples[:, 0], np.repeat(np.arange(7) / 8, 100))


def test_a_writer_counts_its_frames_and_closes_twice(tmp_path):
    with wav.Writer(tmp_path / "x.wav", SAMPLE_RATE, 1) as file:
        file.write(noise(10))
        file.write(noise(20))
        assert file.frames == 30
        file.close()
    assert wav.header(tmp_path / "x.wav").frames == 30


def test_a_file_too_large_for_riff_becomes_rf64(tmp_path):
    path = tmp_path / "x.wav"
    with wav.Writer(path, SAMPLE_RATE, 2, frames=600_000_000) as file:
        file.write(noise(100, channels=2))
    assert path.read_bytes()[:4] == b"RF64"
    assert wav.header(path).frames == 100


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_half_written(tiny_disk):
    with pytest.raises(ProfilerError, match=r"could not be written after 0 frames .* MB free"):
        wav.write(tiny_disk / "x.wav", noise(1_000_000), SAMPLE_RATE)
    assert os.listdir(tiny_disk) == []


def test_a_disk_that_fills_while_recording_keeps_what_was_recorded(tiny_disk):
    def record(file):
        with file:
            for start in range(0, len(samples), 10_000):
                file.write(samples[start : start + 10_000])

    samples = noise(1_000_000)
    file = wav.Writer(tiny_disk / "x.wav", SAMPLE_RATE, 1)
    with pytest.raises(ProfilerError, match="make room and run the command again") as refusal:
        record(file)
    assert one_line(refusal)
    assert file.frames == 260_000  # whole blocks of 40 kB within 1 MiB
    kept, _ = wav.read_mono(tiny_disk / "x.wav")
    np.testing.assert_array_equal(kept[: file.frames], samples[: file.frames])


def test_a_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(ProfilerError, match="cannot be written"):
        wav.Writer(tmp_path / "nowhere" / "x.wav", SAMPLE_RATE, 1)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert wav.sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, B.1


@pytest.mark.parametrize("largest", [wav.LARGEST_WAV_BYTES, 0])
def test_a_file_that_was_never_closed_is_read_to_its_end(largest, tmp_path, monkeypatch):
    # 0: as one above 4 GB, in RF64
    monkeypatch.setattr(wav, "LARGEST_WAV_BYTES", largest)
    path = tmp_path / "killed.wav"
    samples = np.linspace(-0.5, 0.5, 3000, dtype=np.float32).reshape(-1, 2)
    writer = wav.Writer(path, 48_000, 2, frames=10_000)
    for start in range(0, 1500, 500):
        writer.write(samples[start : start + 500])
    shutil.copy(path, tmp_path / "as-it-was.wav")
    writer.close()
    for name in ("as-it-was.wav", "killed.wav"):
        np.testing.assert_array_equal(wav.read(tmp_path / name)[0], samples)


def test_a_piece_is_read_from_anywhere_with_silence_around_the_file(tmp_path):
    samples = np.arange(1, 11, dtype=np.float32) / 16
    wav.write(tmp_path / "x.wav", samples, 48_000)
    padded = np.concatenate([np.zeros(20), samples, np.zeros(20)])
    for first, frames in ((0, 10), (3, 4), (-5, 8), (7, 9), (-9, 4), (12, 3), (-4, 20)):
        piece = wav.read_piece(tmp_path / "x.wav", first, frames)
        np.testing.assert_array_equal(piece[:, 0], padded[20 + first : 20 + first + frames])

import json

import numpy as np
import pytest
import scipy.signal

from profiler.analysis.error import esr
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import ExportError
from profiler.export.nam import Metadata, load_model, read, write
from profiler.model.streaming import render
from profiler.model.training import TrainingOptions, train
from profiler.model.wavenet import ARCHITECTURES, WaveNet, initial_weights
from profiler.stimulus.plan import Noise, SignalPlan
from profiler.verify.verification import verify

SAMPLE_RATE = 48_000
MODEL = WaveNet(ARCHITECTURES["nano"], initial_weights(ARCHITECTURES["nano"], 0), SAMPLE_RATE)

PARTS = [
    ("train", "train", 1.0, None),
    ("held out", "validate", 0.5, None),
    ("again", "validate", 0.5, "held out"),
    ("last", "test", 0.25, None),
]


def capture_of(device, parts=PARTS, noise=0.0):
    """Noise through a device, the second pass sample by sample as the first."""
    segments = tuple(
        Noise(name=name, kind="noise", use=use, seconds=seconds, replicate_of=of)
        for name, use, seconds, of in parts
    )
    plan = SignalPlan(name="test", segments=segments, sample_rate=SAMPLE_RATE)
    random = np.random.default_rng(0)
    stimulus = 0.3 * random.standard_normal(plan.frames)
    where = {placed.segment.name: placed.slice for placed in plan.placed()}
    if "again" in where:
        for name in ("train", "held out"):  # both passes begin at rest
            stop = where[name].stop
            stimulus[stop - MODEL.config.receptive_field : stop] = 0.0
        stimulus[where["again"]] = stimulus[where["held out"]]
    stimulus = stimulus.astype(np.float32)
    response = device(stimulus) + noise * random.standard_normal(plan.frames)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    return AlignedCapture(plan, alignment, stimulus, response.astype(np.float32))


@pytest.fixture
def nam(tmp_path):
    """The file of `MODEL`."""
    write(tmp_path / "model.nam", MODEL, Metadata())
    return tmp_path / "model.nam"


def test_a_perfect_model_of_a_noisy_device_stands_at_the_floor(nam):
    capture = capture_of(lambda x: render(MODEL, x), noise=1e-3)
    result = verify(nam, capture)
    # the powers of 24 000 and 36 000 samples of noise: within 2 %
    assert result.ratio_to_floor == pytest.approx(1.0, abs=0.03)
    assert result.rmse == pytest.approx(1e-3, rel=0.02)
    assert result.floor_esr == result.replicate_esr / 2
    assert result.passed


def test_the_esr_is_that_of_what_was_held_out_and_of_each_part_of_it(nam):
    gain = 1.1

    def louder_when_held_out(x):
        y = render(MODEL, x)
        return np.concatenate([y[:SAMPLE_RATE], gain * y[SAMPLE_RATE:]])

    result = verify(nam, capture_of(louder_when_held_out))
    assert result.esr == pytest.approx((1 - 1 / gain) ** 2, rel=1e-4)
    assert list(result.by_segment) == ["held out", "last"]
    assert result.by_segment["last"].use == "test"
    assert result.by_segment["last"].seconds == 0.25
    assert result.by_segment["last"].esr == pytest.approx(result.esr, rel=1e-4)


def test_an_error_in_the_treble_weighs_more_with_pre_emphasis(nam):
    b, a = scipy.signal.butter(2, 6000, fs=SAMPLE_RATE)
    result = verify(nam, capture_of(lambda x: scipy.signal.lfilter(b, a, render(MODEL, x))))
    assert result.esr_preemphasised > 2 * result.esr


def test_without_a_second_pass_the_floor_is_not_known(nam):
    parts = [part for part in PARTS if part[0] != "again"]
    result = verify(nam, capture_of(lambda x: render(MODEL, x), parts))
    assert (result.replicate_esr, result.floor_esr, result.ratio_to_floor) == (None, None, None)


def test_a_model_of_another_device_fails_and_a_wider_limit_lets_it_pass(nam):
    other = capture_of(lambda x: 0.7 * render(MODEL, x))
    result = verify(nam, other)
    assert result.esr == pytest.approx((1 - 1 / 0.7) ** 2, rel=1e-4)
    assert not result.passed
    assert verify(nam, other, esr_limit=0.5).passed


def test_the_file_is_compared_with_the_network_it_was_made_from(tmp_path):
    capture = capture_of(np.tanh)
    options = TrainingOptions(architecture="nano", minutes=None, steps=3, window=2048)
    model = train([capture], tmp_path / "m", options)
    write(tmp_path / "model.nam", model.network, Metadata())
    result = verify(tmp_path / "model.nam", capture, model, esr_limit=100.0)
    assert result.parity_max_abs < 1e-5
    assert result.passed
    folder = load_model(tmp_path / "m")  # a model folder means the network that it exports
    assert np.array_equal(folder.network.weights, read(tmp_path / "model.nam").network.weights)
    changed = model.network
    changed.weights[-2] += 1e-2  # the last bias
    write(tmp_path / "model.nam", changed, Metadata())
    result = verify(tmp_path / "model.nam", capture, model, esr_limit=100.0)
    assert result.parity_max_abs > 1e-5
    assert not result.passed


def test_the_record_has_the_keys_that_were_promised(nam):
    data = json.loads(verify(nam, capture_of(np.tanh)).model_dump_json())
    assert list(data) == [
        "schema",
        "esr",
        "esr_preemphasised",
        "rmse",
        "replicate_esr",
        "floor_esr",
        "ratio_to_floor",
        "parity_max_abs",
        "passed",
        "by_segment",
    ]
    assert data["schema"] == "ampscope.verify/1"
    assert data["parity_max_abs"] is None


def test_the_error_is_the_one_of_the_analysis(nam):
    capture = capture_of(np.tanh)
    result = verify(nam, capture)
    last = next(placed.slice for placed in capture.plan.used_for("test"))
    expected = esr(capture.response[last], render(MODEL, capture.stimulus)[last])
    assert result.by_segment["last"].esr == expected


def test_a_model_for_another_rate_is_refused(tmp_path):
    write(tmp_path / "m.nam", WaveNet(MODEL.config, MODEL.weights, 44_100), Metadata())
    with pytest.raises(ExportError, match="made for 44100 Hz, the capture is at 48000 Hz"):
        verify(tmp_path / "m.nam", capture_of(np.tanh))


@pytest.mark.parametrize("device", [np.tanh, np.zeros_like])
def test_a_capture_with_nothing_held_out_that_sounds_is_refused(nam, device):
    parts = PARTS[:1] if device is np.tanh else PARTS
    with pytest.raises(ExportError, match="nothing to verify it with"):
        verify(nam, capture_of(device, parts))

import dataclasses

import numpy as np
import pytest

from profiler.capture.checks.hygiene import findings
from profiler.rig.faults import Fault, inject
from tests.capture.checks.varied_takes import (
    CLEAN_SEEDS,
    PLAN,
    RATE,
    SEEDS,
    circuit_of,
    clean,
    evidence,
    faulty,
    played,
    response,
    stimulus,
)


def only(found):
    (finding,) = found
    return finding


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_no_clean_take_is_accused(seed):
    assert list(findings(clean(seed))) == []


@pytest.mark.parametrize(
    ("variant", "severity", "said"),
    [
        ("mp3", "stop", "was an MP3"),
        ("normalised", "warn", "it was normalised"),
        ("over-full-scale", "warn", "peaks at +3.0 dBFS"),
        ("dithered", "warn", "fits 16 bits"),
    ],
)
def test_what_an_export_did_is_found(variant, severity, said):
    for seed in SEEDS:
        finding = only(findings(faulty(seed, "file-hygiene", variant=variant, imported=True)))
        assert (finding.name, finding.severity) == ("file-hygiene", severity)
        assert said in finding.cause


def test_the_edge_of_an_encoder_is_told():
    finding = only(findings(faulty(1, "file-hygiene", variant="mp3", imported=True)))
    assert "ends at 16." in finding.cause


def test_a_tail_is_told_and_easily_cut():
    tail = np.concatenate([response(4), np.zeros(2 * RATE, np.float32)])
    longer = dataclasses.replace(clean(4), response=tail.astype(np.float64))
    vars(longer)["alignment"] = clean(4).alignment
    finding = only(findings(longer))
    assert (finding.severity, finding.measured) == ("note", 2.0)
    assert "2.00 s longer" in finding.cause


def test_repairs_of_an_import_are_told():
    repaired = dataclasses.replace(clean(4), repairs=("response: 0.5 s too late, moved",))
    finding = only(findings(repaired))
    assert (finding.severity, finding.cause) == ("note", "response: 0.5 s too late, moved")


def test_a_clipped_return_at_full_scale_is_not_called_normalised():
    samples = response(0)
    cut = np.clip(samples / np.max(np.abs(samples)), -0.5, 0.5) * 2.0
    assert list(findings(evidence(cut, 0))) == []


def test_a_loop_of_our_own_is_left_to_the_checks_of_the_interface():
    assert circuit_of(0) == "wire"
    coarse = np.round(2**15 * response(0)) / 2**15
    assert list(findings(evidence(coarse, 0))) == []
    assert "16 bits" in only(findings(evidence(coarse, 0, imported=True))).cause


def test_a_device_without_treble_is_no_mp3():
    # 24 dB an octave above 4 kHz, and the converter's own noise
    frequency = np.fft.rfftfreq(PLAN.frames, 1 / RATE)
    dark = np.fft.irfft(np.fft.rfft(response(1)) / (1 + (frequency / 4000) ** 4), PLAN.frames)
    dark += 1e-5 * np.random.default_rng(0).standard_normal(PLAN.frames)
    assert list(findings(evidence(dark.astype(np.float32), 1))) == []


@pytest.mark.parametrize("variant", ["delay", "reverb"])
def test_an_echo_of_a_marker_in_the_silence_is_no_mp3(variant):
    samples = played("wire") + 1e-6 * np.random.default_rng(0).standard_normal(PLAN.frames)
    fault = Fault(strength=-20.0, variant=variant)
    echoing = inject(PLAN, stimulus(), samples, {"time-effect": fault})
    found = evidence(0.5 * echoing, 0)
    vars(found)["alignment"] = clean(0).alignment
    assert list(findings(found)) == []

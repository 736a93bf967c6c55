import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from profiler.analysis.analysis import Analysis, analyse
from profiler.analysis.noise import NoiseAnalysis, NoiseBand
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.report.gallery import Measured
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render


def texts_of(drawing):
    root = ElementTree.fromstring(drawing.svg())
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def lines_of(drawing, colour):
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--' + colour, drawing.svg())
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) for path in paths]


@pytest.fixture(scope="session")
def texts():
    """Everything that is written in a drawing."""
    return texts_of


@pytest.fixture(scope="session")
def lines():
    """Corners of every line drawn in a colour of the page, as (n, 2) in points."""
    return lines_of


SIGNAL = SignalDefinition.model_validate(
    {
        "name": "all",
        "segments": [
            {"kind": "silence", "name": "quiet", "use": "analyse", "seconds": 0.4},
            {
                "kind": "sweep",
                "name": "up",
                "use": "analyse",
                "level_dbfs": -12.0,
                "seconds": 1.5,
            },
            {
                "kind": "burst",
                "name": "A440",
                "use": "analyse",
                "level_dbfs": -12.0,
                "before_seconds": 0.3,
                "after_seconds": 0.5,
            },
            {
                "kind": "staircase",
                "name": "ladder",
                "use": "analyse",
                "level_dbfs": -3.0,
                "seconds": 1.95,
            },
            {
                "kind": "multisine",
                "name": "odd",
                "use": "analyse",
                "odd_only": True,
                "realisations": 2,
                "seconds": 4.0,
                "level_dbfs": -6.0,
            },
        ],
    }
)


@pytest.fixture(scope="session")
def measured_tanh():
    """A device that is tanh(4 x) with noise of -90 dBFS, and all that was measured on it."""
    plan = SIGNAL.plan(48_000)
    stimulus = render(plan)
    noise = 10 ** (-90 / 20) * np.random.default_rng(0).standard_normal(plan.frames)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = (np.tanh(4.0 * stimulus) / 4.0 + noise).astype(np.float32)
    capture = AlignedCapture(plan, alignment, stimulus, response)
    return Measured("tanh", capture, analyse(capture, "0" * 64))


def empty_analysis(**measures):
    nothing = dict.fromkeys(
        (
            "settling",
            "response",
            "distortion",
            "intermodulation",
            "memory",
            "dynamics",
            "noise",
            "cabinet",
        )
    )
    return Analysis(response_sha256="0" * 64, delay_samples=0.0, **(nothing | measures))


@pytest.fixture
def empty():
    """The analysis of a capture on which nothing could be measured."""
    return empty_analysis()


@pytest.fixture
def noisy():
    """Makes the analysis of a capture on which only the noise was measured."""

    def made(rms_dbfs, a_weighted_dbfs):
        noise = NoiseAnalysis(
            quiet_seconds=1.0,
            rms_dbfs=rms_dbfs,
            a_weighted_dbfs=a_weighted_dbfs,
            hiss_rms_dbfs=rms_dbfs,
            hiss_a_weighted_dbfs=a_weighted_dbfs,
            hum=None,
            third_octaves=tuple(
                NoiseBand(centre_hz=1000 * 10 ** (n / 10), rms_dbfs=-100.0, sigma_db=0.5)
                for n in range(-17, 14)
            ),
            gate=None,
            driven=(),
        )
        return empty_analysis(noise=noise)

    return made

import functools

import numpy as np
import pytest

from profiler.rig.connect import connect
from profiler.rig.faults import KINDS, Fault, inject, weakest
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render

RATE = 48_000
EVERY = [(name, variant) for name, kind in KINDS.items() for variant in kind.variants or (None,)]
OF_A_FILE = [("file-hygiene", v) for v in ("normalised", "over-full-scale", "stereo", "tail")]
IN_A_STREAM = [each for each in EVERY if each not in OF_A_FILE]
OF_THE_RECORDING = [  # return, computer, clock and buffers
    "polarity-inverted",
    "return-low",
    "hum",
    "dc-offset",
    "dc-step",
    "return-clipped",
    "direct-monitoring",
    "interface-limiter",
    "latency-changed",
    "clock-drift",
    "wrong-rate",
    "system-resampling",
    "enhancement",
    "zero-fill",
    "lost-block",
    "repeated-block",
    "sixteen-bit",
    "file-hygiene",
]
OF_THE_DEVICE = {
    "no-signal",
    "standby",
    "bypass",
    "line-level",
    "noise-gate",
    "mains-step",
    "knob-moved",
    "warm-up",
    "time-effect",
    "speaker-simulation",
    "room-noise",
}
OF_THE_RETURN = {
    "polarity-inverted",
    "return-low",
    "return-clipped",
    "hum",
    "dc-step",
    "dc-offset",
}


@functools.cache
def _plan():
    segments = [
        {"kind": "sine", "name": "tone", "use": "analyse", "level_dbfs": -3.0, "seconds": 1.0},
        {"kind": "silence", "name": "rest", "use": "analyse", "seconds": 0.5},
        {"kind": "noise", "name": "noise", "use": "train", "level_dbfs": -6.0, "seconds": 1.0},
    ]
    definition = SignalDefinition.model_validate({"name": "faulty", "segments": segments})
    return definition.plan(RATE).bracketed()


@functools.cache
def _stimulus():
    return render(_plan())


def _rig(circuit="wire", faults=None, **settings):
    interface = {
        "driver": "simulated",
        "loopback_channel": 2,
        "noise_rms_dbfs": -90.0,
        "gain_db": 15.0 if circuit == "drive" else 0.0,
    }
    return Rig.model_validate(
        {
            "name": "test",
            "maximum_send_dbfs": 0.0,
            "interface": interface | settings | {"faults": faults or {}},
            "chain": {"circuit": circuit},
        }
    )


def _record(rig):
    blocks = []
    connect(rig).play_record([_stimulus()], _plan().frames, blocks.append)
    return np.concatenate([block.samples for block in blocks])


@functools.cache
def _clean(circuit="wire"):
    take = _record(_rig(circuit))
    take.setflags(write=False)
    return take


def _fault(name, variant=None, *, circuit="wire", **keys):
    strength = keys.pop("strength", None)
    if strength is None:
        strength = weakest(name, _clean(circuit)[:, 0])
    return Fault(strength=strength, variant=variant, **keys)


def _injected(name, variant=None, *, circuit="wire", **keys):
    fault = _fault(name, variant, circuit=circuit, **keys)
    return inject(_plan(), _stimulus(), _clean(circuit), {name: fault})


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_every_fault_changes_a_pair(name, variant):
    clean = _clean("drive")
    out = _injected(name, variant, circuit="drive")
    assert out.dtype == np.float64
    assert np.isfinite(out).all()
    if name == "file-hygiene" and variant in ("stereo", "tail"):
        assert out.shape != clean.shape
        return
    assert out.shape == clean.shape
    assert np.max(np.abs(out[:, 0] - clean[:, 0])) > 1e-6
    if name in OF_THE_DEVICE | OF_THE_RETURN:
        np.testing.assert_array_equal(out[:, 1], clean[:, 1])
    else:
        assert np.max(np.abs(out[:, 1] - clean[:, 1])) > 1e-6


@pytest.mark.parametrize(("name", "variant"), IN_A_STREAM)
def test_every_fault_changes_what_the_simulated_interface_records(name, variant):
    fault = _fault(name, variant, circuit="drive")
    out = _record(_rig("drive", {name: fault}))
    clean = _clean("drive")
    assert out.shape == clean.shape
    assert np.isfinite(out).all()
    assert np.max(np.abs(out[:, 0] - clean[:, 0])) > 1e-6
    if name in OF_THE_DEVICE | OF_THE_RETURN:
        np.testing.assert_array_equal(out[:, 1], clean[:, 1])
    else:
        assert np.max(np.abs(out[:, 1] - clean[:, 1])) > 1e-6


@pytest.mark.parametrize("variant", ["first", "others"])
@pytest.mark.parametrize("name", OF_THE_RECORDING)
def test_the_interface_records_what_is_injected_into_its_clean_take(name, variant):
    variants = KINDS[name].variants or (None,)
    for chosen in variants[:1] if variant == "first" else variants[1:]:
        if (name, chosen) not in IN_A_STREAM:
            continue
        recorded = _record(_rig("drive", {name: _fault(name, chosen, circuit="drive")}))
        injected = _injected(name, chosen, circuit="drive")
        # the clean take was rounded to float32 before, the recorded one after
        tolerance = 2.0**-14 if name == "sixteen-bit" or chosen == "dithered" else 2e-7
        differ = np.abs(recorded - injected) > tolerance
        n = len(injected) - RATE // 4  # behind the end the pair has nothing but its mirror
        assert not differ[:n].any()


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_changed_before_its_place(name):
    at_seconds = 1.7
    out = _injected(name, at_seconds=at_seconds)
    if name in ("truncated", "file-hygiene"):
        return
    np.testing.assert_allclose(
        out[: round(at_seconds * RATE)], _clean()[: round(at_seconds * RATE)], atol=1e-12
    )

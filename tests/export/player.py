"""The official player core, under node, as the judge of what is exported."""

import subprocess
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PLAYER = HERE.parents[1] / ".venv/node/node_modules/@opendaw/nam-wasm"
SAMPLE_RATE = 48_000

# Hot enough to reach the bend of every tanh. Whole blocks of the player, past its prewarm.
SIGNAL = (0.5 * np.random.default_rng(0).standard_normal(128 * 64)).astype(np.float32)


def played_by_the_official_player(folder, model="model.nam"):
    """What the player makes of SIGNAL with a model in a folder."""
    assert PLAYER.is_dir(), "the player core is not installed: make test installs it"
    SIGNAL.tofile(folder / "in.f32")
    subprocess.run(
        [
            *("node", HERE / "play.mjs", PLAYER, folder / model, str(SAMPLE_RATE)),
            *(folder / "in.f32", folder / "out.f32"),
        ],
        check=True,
    )
    return np.fromfile(folder / "out.f32", np.float32)

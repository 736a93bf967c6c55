"""Let the NAM trainer's own code make random A1 networks, play them and export them.

    python trainer_export.py INPUT.npy FOLDER...

makes of each FOLDER/config.json a FOLDER/model.nam and a FOLDER/output.npy. What the
trainer's package pulls in for its window, its training loop and its audio files (tkinter,
pytorch_lightning, librosa) has no part in this, so its top level is passed over and librosa
stood in for.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

sys.modules["nam"] = importlib.util.module_from_spec(importlib.util.find_spec("nam"))
sys.modules["librosa"] = types.ModuleType("librosa")

from nam.models.wavenet import WaveNet  # noqa: E402

torch.set_num_threads(1)  # two threads wait for each other on a busy machine
source, *folders = (Path(argument) for argument in sys.argv[1:])
for folder in folders:
    torch.manual_seed(0)
    model = WaveNet.init_from_config(json.loads((folder / "config.json").read_text()))
    model.sample_rate = 48_000.0
    model.eval()
    model.export(folder)
    with torch.no_grad():
        output = model(torch.from_numpy(np.load(source)), pad_start=True)
    np.save(folder / "output.npy", output.numpy())

"""Train slowly, saving after every step, so that a test can kill it in the middle.

python train_until_killed.py SOURCE MODEL
"""

import sys
import time
from pathlib import Path

import numpy as np

from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.model import training
from profiler.stimulus.plan import SignalPlan

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
alignment = Alignment(
    delay_samples=0.0,
    sigma_samples=0.0,
    polarity=1,
    reference="given",
    drift_ppm=None,
    markers=(),
)
pair = np.load(source / "capture.npz")
plan = SignalPlan.load_json(source / "plan.json")
capture = AlignedCapture(plan, alignment, pair["stimulus"], pair["response"])
options = training.TrainingOptions.load_json(source / "options.json")
training.SAVE_SECONDS = training.PROGRESS_SECONDS = 0.0
training.train([capture], folder, options, on_progress=lambda progress: time.sleep(0.03))

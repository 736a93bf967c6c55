"""Train an A1 standard network by the NAM trainer's own classes, and keep its weights as it goes.

    python nam_trainer.py JOB.json OUT.npz

run by a Python that has neural-amp-modeler with pytorch-lightning and librosa; it is started by
`train_against_nam.py`. Loss, optimiser, schedule, batch, validation after every epoch and
checkpoints are the trainer's defaults (those that `nam.train.core.train` uses); the network is
A1 standard instead of its newest one. Only what it is trained on is given from outside: the same
samples that Ampscope trains on, instead of places in one of the trainer's own WAV files. A
callback copies the weights every few seconds; they are judged afterwards, so no time is lost
to it.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from nam.data import Split, apply_joint_dataset_hooks, get_joint_dataset_hooks, init_dataset
from nam.train import core
from nam.train.lightning_module import LightningModule
from torch.utils.data import DataLoader

OCTAVES = [2**octave for octave in range(10)]


def layers(input_size, channels, head_size, head_bias):
    return {
        "input_size": input_size,
        "condition_size": 1,
        "channels": channels,
        "kernel_size": 3,
        "dilations": OCTAVES,
        "activation": "Tanh",
        "head": {"out_channels": head_size, "kernel_size": 1, "bias": head_bias},
    }


class Keeping(pl.Callback):
    """Copies the weights now and then, and stops when the time is over."""

    def __init__(self, seconds, every):
        self.seconds, self.every = seconds, every
        self.wall, self.cpu, self.weights = [], [], []

    def on_train_start(self, trainer, module):
        self.begun, self.cpu_begun = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer, module, *_):
        wall = time.perf_counter() - self.begun
        if not self.wall or wall - self.wall[-1] >= self.every:
            self.wall.append(wall)
            self.cpu.append(time.process_time() - self.cpu_begun)
            self.weights.append(module.net._export_weights().copy())
        trainer.should_stop = trainer.should_stop or wall >= self.seconds


def main(job_path, out_path):
    job = json.loads(Path(job_path).read_text())
    torch.manual_seed(job["seed"])
    model_config = core._get_packed_model_config()  # its loss, optimiser and schedule
    model_config["net"] = {
        "name": "WaveNet",
        "config": {
            "layers_configs": [layers(1, 16, 8, False), layers(16, 8, 1, True)],
            "head_scale": 0.02,
        },
    }
    model = LightningModule.init_from_config(model_config)
    nx = model.net.receptive_field

    def part(start, stop, ny):
        begin = max(0, start - (nx - 1))
        return {"start_samples": begin, "stop_samples": stop, "ny": ny}

    common = {
        "x_path": job["stimulus"],
        "y_path": job["response"],
        "nx": nx,
        "require_input_pre_silence": None,
    }
    data = {
        "train": [part(*stretch, core._NY_DEFAULT) for stretch in job["train"]],
        "validation": [part(*stretch, None) for stretch in job["validate"]],
        "common": common,
    }
    train, validation = (init_dataset(data, split) for split in (Split.TRAIN, Split.VALIDATION))
    before = loudness(validation)
    level = {"name": "nam.data.normalize_joint_dataset_output", "kwargs": {"level_rms_dbfs": -18.0}}
    apply_joint_dataset_hooks(
        dataset_train=train,
        dataset_validation=validation,
        hooks=get_joint_dataset_hooks([level]),
    )
    model.net.sample_rate = 48_000
    keeping = Keeping(job["seconds"], job["every"])
    os.chdir(job["folder"])
    trainer = pl.Trainer(
        max_epochs=100,
        default_root_dir=job["folder"],
        callbacks=[keeping, *core.get_callbacks(None)],
        enable_progress_bar=False,
        logger=False,
    )
    loader = DataLoader(train, batch_size=16, shuffle=True, drop_last=True, num_workers=0)
    trainer.fit(model, loader, DataLoader(validation))
    np.savez(
        out_path,
        wall=keeping.wall,
        cpu=keeping.cpu,
        weights=np.array(keeping.weights),
        gain=loudness(validation) / before,  # of the output that it was trained on
        threads=torch.get_num_threads(),
    )


def loudness(dataset):
    first = dataset.datasets[0] if hasattr(dataset, "datasets") else dataset
    return float(torch.sqrt(torch.mean(first.y**2)))


if __name__ == "__main__":
    main(*sys.argv[1:])

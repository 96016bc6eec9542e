"""Vectors to classify, as rows of a table that a model looks up, in the real loop."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.finetuning.objective import TaskObjective
from leanformer.settings import TrainingSettings
from leanformer.training.loop import fit
from leanformer.training.run.callback import Callback
from leanformer.training.run.record import RunDirectory


class Perceptron(nn.Module):
    """Two layers and a classifier over the vector that a token stands for."""

    def __init__(self, vectors: Tensor, classes: int, width: int = 31, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.register_buffer("vectors", vectors, persistent=False)
        self.layers = nn.ModuleList([nn.Linear(vectors.shape[1], width), nn.Linear(width, width)])
        self.classifier = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
        x = self.vectors[input_ids[:, 0]]
        for layer in self.layers:
            x = layer(x).relu()
        return SimpleNamespace(logits=self.classifier(x))


def as_rows(labels: Tensor) -> Encoded:
    """Row i is the token i."""
    count = len(labels)
    examples = Examples([(str(i),) for i in range(count)], labels.numpy())
    return Encoded(examples, {"input_ids": [[i] for i in range(count)]}, labels.numpy(), np.zeros(count, bool), 0)


def run(
    model: nn.Module,
    objective: TaskObjective,
    callbacks: Sequence[Callback],
    folder: Path,
    resume: bool = False,
    **training: Any,
) -> nn.Module:
    directory = RunDirectory(folder)
    if not resume and os.environ.get("RANK", "0") == "0":
        folder.mkdir(exist_ok=True)
        directory.write({"kind": "test", "status": "running"})
    how = {"learning_rate": 3e-3, "precision": "fp32", "checkpoint_every": 0, "log_every": 100, "warmup": 0.0}
    settings = TrainingSettings.of(how | training)
    accelerator = Accelerator(cpu=True)
    how = {"accelerator": accelerator, "callbacks": callbacks, "resume": resume, "quiet": True}
    fit(model, objective, settings, directory, **how)
    return model


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., nn.Module]:
    """Fine-tune in place, in a new run directory; with `resume` the last one goes on."""
    runs = []

    def into(
        model: nn.Module,
        objective: TaskObjective,
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
        **training: Any,
    ) -> nn.Module:
        if not resume:
            runs.append(tmp_path / f"run-{len(runs)}")
        return run(model, objective, callbacks, runs[-1], resume, **training)

    return into


@pytest.fixture
def perceptron() -> type[Perceptron]:
    return Perceptron


@pytest.fixture
def rows() -> Callable[[Tensor], Encoded]:
    return as_rows

"""Models kept during training: `training.keep_every` = N writes the model of every N-th step, also of the last one.

    RUN/kept/step-1000    config.json, model.safetensors, the tokenizer and SHA256SUMS, as in RUN/model

`from_pretrained("RUN/kept", subfolder="step-1000")` and every command that takes a model read such a folder. It appears
when it is complete, or not at all. A copy of the model is saved, so the weights in training stay as they are.

A resumed run writes no step again, since it repeats the same steps; with a budget in seconds it does not, because its
learning rate depends on the clock. Then, and when a run is extended, the folders beyond the resumed step are removed.
"""

import re
from collections.abc import Callable
from pathlib import Path

from leanformer import files
from leanformer.settings import TrainingSettings
from leanformer.training.run.record import RunDirectory


class KeptModels:
    """The kept models of one run. `write` saves a copy of the current model in a new folder; all processes call it."""

    def __init__(self, settings: TrainingSettings, run: RunDirectory, write: Callable[[Path], None], *, main: bool):
        self.every, self.repeats = settings.keep_every, settings.max_seconds is None
        self.run, self.write, self.main = run, write, main

    def due(self, step: int) -> bool:
        return self.every is not None and step % self.every == 0

    def after(self, step: int) -> None:
        folder = folder_of(self.run, step)
        if not folder.is_dir():
            self.write(folder)

    def rewind(self, step: int) -> None:
        if self.main and not self.repeats:
            remove_after(self.run, step)


def require_space(settings: TrainingSettings, run: RunDirectory, parameters: int, steps: int | None) -> None:
    """Raises ValueError if the disk has no room for the models that a run of `steps` steps keeps from now on."""
    if settings.keep_every is not None and steps is not None:
        missing = max(0, steps // settings.keep_every - len(list(run.kept.glob("step-*"))))
        files.require_space(run.path, 4 * parameters * missing, "make room, or raise training.keep_every")


def folder_of(run: RunDirectory, step: int) -> Path:
    return run.kept / f"step-{step}"


def remove_after(run: RunDirectory, step: int) -> None:
    """Remove the models of later steps than `step`."""
    for folder in run.kept.glob("step-*"):
        if re.fullmatch(r"step-\d+", folder.name) and int(folder.name.removeprefix("step-")) > step:
            files.remove_directory(folder)

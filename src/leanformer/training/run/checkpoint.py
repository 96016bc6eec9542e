"""Checkpoints, which hold everything that an exact resume needs and nothing that can run code.

    step-00001000/model.safetensors       every parameter once, and the persistent buffers
                  optimizer.safetensors   the optimizer's state, `PARAMETER.moment`
                  shard-*.safetensors     in place of both, of a sharded run (`sharded_files`)
                  state.json              `Progress`, and the settings of the run
                  callbacks.safetensors   the state of the callbacks, if they have any
                  SHA256SUMS              the sha256 of all files; `sha256sum -c SHA256SUMS` checks them, too

No random generator is saved, since order, masks and dropout are functions of the step. A checkpoint appears under its
name only when it is complete and on disk; it is verified whenever it is read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from leanformer import files
from leanformer.files import SUMS
from leanformer.records import reading
from leanformer.records.checkpoint import State
from leanformer.training.machine.process_group import ProcessGroup
from leanformer.training.run import callback
from leanformer.training.run.callback import Callback
from leanformer.training.run.provenance import identity, plan_at
from leanformer.training.run.sharded_files import PATTERN, read_parts, write_parts
from leanformer.training.run.state_tensors import fill, moments, set_moments, weights

STATE = "state.json"
WHOLE = ("model.safetensors", "optimizer.safetensors")
FILES = (*WHOLE, STATE)
CALLBACKS = "callbacks.safetensors"
OLD_CALLBACKS = "companions.safetensors"
"""The name of this file in checkpoints of version 0.1."""


@dataclass
class Progress:
    """The progress of a run."""

    step: int = 0
    """The number of updates done."""
    seconds: float = 0.0
    """Wall-clock seconds in the loop, over all resumes."""
    idle_seconds: float = 0.0
    """The part of `seconds` that was spent on validation and checkpoints."""
    loss: float = 0.0
    """The sum of the losses since the last logged step: of this process while it runs, of all in a checkpoint."""
    targets: int = 0
    """The number of targets of all processes since the last logged step."""
    curve_bytes: int = 0
    """The curve's length; lines that were written later are cut off when the run resumes here."""
    curve_sha256: str | None = None
    """The sha256 of these bytes; None in an older checkpoint that does not record it."""
    joules: float | None = 0.0
    """The energy of all processes over all resumes, None if unknown; during the run, that before the last resume."""
    energy_source: str = ""
    """The counters of the joules, or the reason why there are none; empty at step 0."""


@dataclass(frozen=True)
class Checkpoints:
    """The folder `checkpoint/` of a run, which keeps the `keep` newest checkpoints."""

    folder: Path
    keep: int = 2
    hold: int | None = None
    """The step of a checkpoint that is kept in addition to the newest."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The content of run.json, with whose settings the checkpoints must agree."""
    group: ProcessGroup | None = None
    """The processes that share the work, each of which holds its parts of a sharded model; None: this one alone."""

    def path(self, step: int) -> Path:
        return self.folder / folder_name(step)

    def all(self) -> list[Path]:
        """Returns the complete checkpoints, oldest first."""
        paths = [p for p in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
        return sorted(paths, key=lambda p: int(p.name.removeprefix("step-")))

    def steps(self) -> list[int]:
        return [_step(path) for path in self.all()]

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Write the checkpoint of `progress`; an OSError leaves the other checkpoints as they are."""
        target = self.path(progress.step)
        if target.exists():
            return
        with files.new_directory(target) as folder:
            save_file(weights(model), folder / "model.safetensors")
            save_file(moments(model, optimizer), folder / "optimizer.safetensors")
            if tensors := callback.states(callbacks):
                save_file(tensors, folder / CALLBACKS)
            self._finish(folder, progress)
        self.prune()

    def save_sharded(self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write the checkpoint of a sharded model: all processes call it, and the first one's progress counts.

        An OSError of one of them is raised on all of them, and leaves the other checkpoints as they are.
        """
        assert self.group is not None
        group, first, target = self.group, self.group.rank == 0, self.path(progress.step)
        if group.gather(target.exists())[0]:
            return
        with ExitStack() as stack:
            new = group.together(lambda: stack.enter_context(files.new_directory(target)) if first else target)
            folder = group.gather(new)[0]
            parts = group.gather(group.together(lambda: write_parts(folder, model, optimizer, group)))
            sums = {name: digest for part in parts for name, digest in part.items()}
            group.together(lambda: self._finish(folder, progress, sums) if first else None)
            group.together(stack.close)  # where the folder gets its name
        if first:
            self.prune()

    def _finish(self, folder: Path, progress: Progress, sums: Mapping[str, str] | None = None) -> None:
        state = asdict(progress) | {"identity": identity(self.record)}
        (folder / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        files.write_sums(folder, sums)

    def _require_same_run(self, checkpoint: Path, written: Mapping[str, Any] | None) -> None:
        """Raises ValueError that names the first setting in which run.json differs from what the checkpoint recorded.

        An older checkpoint, which records no settings, is accepted.
        """
        now = identity(self.record) | plan_at(self.record, _step(checkpoint)) if self.record else {}
        for key in sorted((written or {}).keys() & now.keys()):
            if written and written[key] != now[key]:
                raise ValueError(
                    f"{self.folder.parent / 'run.json'} says {key} = {now[key]!r}, and {checkpoint} was "
                    f"written with {written[key]!r}: restore run.json, which was edited since"
                )

    def prune(self) -> None:
        """Remove all but the newest checkpoints, also those that a killed process left behind."""
        for step in self.steps()[: -self.keep]:
            if step != self.hold:
                files.remove_directory(self.path(step))

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, callbacks: Sequence[Callback] = ()
    ) -> Progress:
        """Load the newest checkpoint, or start over if there is none.

        Raises ValueError that names a damaged file and the previous checkpoint.
        """
        found = self.all()
        if not found:
            return Progress()
        newest = found[-1]
        before = f"resume from {found[-2].name}, the one before it" if found[:-1] else "start over at step 0"
        remedy = f"remove {newest} to {before}"
        if self.group is None:
            verify(newest, remedy)
        else:
            part = (self.group.rank, self.group.size)
            self.group.together(lambda: verify(newest, remedy, part))
        state = read_state(newest, remedy)
        self._require_same_run(newest, state.get("identity"))
        with _named(newest, remedy):
            if is_sharded(newest):
                read_parts(newest, model, optimizer)
            else:
                fill(model, load_file(newest / "model.safetensors"))
                set_moments(model, optimizer, load_file(newest / "optimizer.safetensors"))
            files = [newest / name for name in (CALLBACKS, OLD_CALLBACKS) if (newest / name).is_file()]
            callback.resume(callbacks, load_file(files[0]) if files else {})
            return Progress(**{f.name: state[f.name] for f in fields(Progress)})


def read_state(checkpoint: Path, remedy: str) -> dict[str, Any]:
    """Returns the checked content of state.json.

    Raises ValueError that ends in `remedy` if the file is damaged or its step is not that of its folder.
    """
    uncounted = {"joules": None, "energy_source": "a checkpoint from before energy was counted", "curve_sha256": None}
    record = uncounted | reading.read(checkpoint / STATE, State, remedy)
    if checkpoint.name != folder_name(record["step"]):
        raise ValueError(f"{checkpoint / STATE} is damaged (step = {record['step']}): {remedy}")
    return record


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def is_sharded(checkpoint: Path) -> bool:
    """Whether its tensors are in the files of several processes."""
    return any(checkpoint.glob(PATTERN)) and not any((checkpoint / name).is_file() for name in WHOLE)


def verify(checkpoint: Path, remedy: str, part: tuple[int, int] = (0, 1)) -> None:
    """Raises ValueError unless every file is unchanged since it was written; `part` (i, n) as in `files.check_sums`."""
    sums = files.read_sums(checkpoint, remedy) if (checkpoint / SUMS).is_file() else {}
    for name in (STATE,) if is_sharded(checkpoint) else FILES:
        if name not in sums:
            raise ValueError(f"{checkpoint / SUMS} is missing or says nothing of {name}: {remedy}")
    if unlisted := [path.name for path in sorted(checkpoint.glob(PATTERN)) if path.name not in sums]:
        raise ValueError(f"{checkpoint / SUMS} says nothing of {unlisted[0]}: {remedy}")
    files.check_sums(checkpoint, remedy, part=part)


@contextmanager
def _named(checkpoint: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError) as error:
        raise ValueError(f"{checkpoint} does not fit this run ({error}): {remedy}") from error

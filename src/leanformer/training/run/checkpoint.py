"""Checkpoints: everything an exact resume needs, and nothing that can run code.

    step-00001000/model.safetensors       every parameter once, and the persistent buffers
                  optimizer.safetensors   the optimizer's state, `PARAMETER.moment`
                  state.json              `Progress`, and the settings of the run
                  callbacks.safetensors  what goes along with the training, if that has a state
                  SHA256SUMS              of them all; `sha256sum -c SHA256SUMS` checks it too

There is no generator to save: order, masks and dropout are functions of the step. A checkpoint appears under its name
only when it is complete and on disk; it is verified whenever it is read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from leanformer import files
from leanformer.files import SUMS
from leanformer.records import reading
from leanformer.records.checkpoint import State
from leanformer.training.run import callback
from leanformer.training.run.callback import Callback
from leanformer.training.run.provenance import identity, plan_at

STATE = "state.json"
FILES = ("model.safetensors", "optimizer.safetensors", STATE)
CALLBACKS = "callbacks.safetensors"
OLD_CALLBACKS = "companions.safetensors"
"""The name of this file in checkpoints of version 0.1."""


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Wall-clock in the loop, over all resumes."""
    idle_seconds: float = 0.0
    """Those of them that went into validation and checkpoints."""
    loss: float = 0.0
    """Summed since the last logged step, whose line in the curve holds the mean; of this process alone while it runs,
    of all of them in a checkpoint."""
    targets: int = 0
    """Of all processes, since the last logged step."""
    curve_bytes: int = 0
    """The curve's length: what was written later is cut off when the run resumes here."""
    curve_sha256: str | None = None
    """The sha256 of these bytes; None in a checkpoint from before they were hashed."""
    joules: float | None = 0.0
    """Of all processes, over all resumes; None if unknown. While it runs, those before the last resume."""
    energy_source: str = ""
    """What counted them, or why nothing did; nothing yet at step 0."""


@dataclass(frozen=True)
class Checkpoints:
    """The folder `checkpoint/` of a run, in which the `keep` newest stay."""

    folder: Path
    keep: int = 2
    hold: int | None = None
    """The step of a checkpoint that is kept beside the newest."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """run.json: a checkpoint goes on with no other run's settings."""

    def path(self, step: int) -> Path:
        return self.folder / folder_name(step)

    def all(self) -> list[Path]:
        """Complete ones, oldest first."""
        found = [p for p in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
        return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))

    def steps(self) -> list[int]:
        return [_step(path) for path in self.all()]

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """An OSError leaves the others as they are."""
        target = self.path(progress.step)
        if target.exists():
            return
        with files.new_directory(target) as folder:
            save_file(weights(model), folder / "model.safetensors")
            save_file(_moments(model, optimizer), folder / "optimizer.safetensors")
            state = asdict(progress) | {"identity": identity(self.record)}
            (folder / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
            if tensors := callback.states(callbacks):
                save_file(tensors, folder / CALLBACKS)
            files.write_sums(folder)
        self.prune()

    def _require_same_run(self, checkpoint: Path, written: Mapping[str, Any] | None) -> None:
        """ValueError that names the first setting in which run.json is not what it was at the checkpoint; one from
        before checkpoints knew their settings is taken as it is."""
        now = identity(self.record) | plan_at(self.record, _step(checkpoint)) if self.record else {}
        for key in sorted((written or {}).keys() & now.keys()):
            if written and written[key] != now[key]:
                raise ValueError(
                    f"{self.folder.parent / 'run.json'} says {key} = {now[key]!r}, and {checkpoint} was "
                    f"written with {written[key]!r}: restore run.json, which was edited since"
                )

    def prune(self) -> None:
        """All but the newest, also those which a killed process had no time to remove."""
        for step in self.steps()[: -self.keep]:
            if step != self.hold:
                files.remove_directory(self.path(step))

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, callbacks: Sequence[Callback] = ()
    ) -> Progress:
        """Load the newest one; without any, the run starts over. ValueError names a damaged file and the one before."""
        found = self.all()
        if not found:
            return Progress()
        newest = found[-1]
        before = f"resume from {found[-2].name}, the one before it" if found[:-1] else "start over at step 0"
        remedy = f"remove {newest} to {before}"
        verify(newest, remedy)
        state = read_state(newest, remedy)
        self._require_same_run(newest, state.get("identity"))
        with _named(newest, remedy):
            _fill(model, load_file(newest / "model.safetensors"))
            _set_moments(model, optimizer, load_file(newest / "optimizer.safetensors"))
            files = [newest / name for name in (CALLBACKS, OLD_CALLBACKS) if (newest / name).is_file()]
            callback.resume(callbacks, load_file(files[0]) if files else {})
            return Progress(**{f.name: state[f.name] for f in fields(Progress)})


def read_state(checkpoint: Path, remedy: str) -> dict[str, Any]:
    """state.json, checked. ValueError that ends in `remedy` if it is damaged or of another step than its folder."""
    uncounted = {"joules": None, "energy_source": "a checkpoint from before energy was counted", "curve_sha256": None}
    record = uncounted | reading.read(checkpoint / STATE, State, remedy)
    if checkpoint.name != folder_name(record["step"]):
        raise ValueError(f"{checkpoint / STATE} is damaged (step = {record['step']}): {remedy}")
    return record


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def verify(checkpoint: Path, remedy: str) -> None:
    """ValueError unless every file is what it was when it was written."""
    sums = files.read_sums(checkpoint, remedy) if (checkpoint / SUMS).is_file() else {}
    for name in FILES:
        if name not in sums:
            raise ValueError(f"{checkpoint / SUMS} is missing or says nothing of {name}: {remedy}")
    files.check_sums(checkpoint, remedy)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter under its first name (tied ones once) and the persistent buffers."""
    persistent = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return {name: tensor.detach() for name, tensor in [*model.named_parameters(), *buffers.items()]}


def _fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = weights(model)
    if different := sorted(own.keys() ^ tensors.keys()):
        raise ValueError(f"it and the model disagree about {different[0]}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, the model's {tuple(tensor.shape)}")
        tensor.copy_(tensors[name])


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names, state = _names(model, optimizer), optimizer.state_dict()["state"]
    return {f"{names[i]}.{key}": value for i, values in state.items() for key, value in values.items()}


def _set_moments(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    index = {name: i for i, name in enumerate(_names(model, optimizer))}
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(".", 1)
        state.setdefault(index[parameter], {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the parameters in the optimizer's order."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


@contextmanager
def _named(checkpoint: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError) as error:
        raise ValueError(f"{checkpoint} does not fit this run ({error}): {remedy}") from error

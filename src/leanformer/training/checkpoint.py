"""Checkpoints: everything an exact resume needs, and nothing that can run code.

    step-00001000/model.safetensors       every parameter once, and the persistent buffers
                  optimizer.safetensors   the optimizer's state, `PARAMETER.moment`
                  state.json              `Progress`
                  companions.safetensors  what goes along with the training, if that has a state
                  SHA256SUMS              of them all; `sha256sum -c SHA256SUMS` checks it too

There is no generator to save: order, masks and dropout are functions of the step. A checkpoint appears under its name
only when it is complete and on disk; it is verified whenever it is read.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from leanformer import files
from leanformer.training import companion
from leanformer.training.companion import Companion

SUMS = "SHA256SUMS"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
COMPANIONS = "companions.safetensors"


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
    """The step of one that stays besides."""

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def all(self) -> list[Path]:
        """Complete ones, oldest first."""
        found = [p for p in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
        return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))

    def steps(self) -> list[int]:
        return [int(path.name.removeprefix("step-")) for path in self.all()]

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        companions: Sequence[Companion] = (),
    ) -> None:
        """An OSError leaves the others as they are."""
        target = self.path(progress.step)
        if target.exists():
            return
        with files.new_directory(target) as folder:
            save_file(weights(model), folder / "model.safetensors")
            save_file(_moments(model, optimizer), folder / "optimizer.safetensors")
            (folder / "state.json").write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
            if state := companion.states(companions):
                save_file(state, folder / COMPANIONS)
            names = (*FILES, COMPANIONS) if state else FILES
            (folder / SUMS).write_text("".join(f"{files.sha256(folder / name)}  {name}\n" for name in names))
        self.prune()

    def prune(self) -> None:
        """All but the newest, also those which a killed process had no time to remove."""
        for step in self.steps()[: -self.keep]:
            if step != self.hold:
                files.remove_directory(self.path(step))

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, companions: Sequence[Companion] = ()
    ) -> Progress:
        """Load the newest one; without any, the run starts over. ValueError names a damaged file and the one before."""
        found = self.all()
        if not found:
            return Progress()
        newest = found[-1]
        before = f"resume from {found[-2].name}, the one before it" if found[:-1] else "start over at step 0"
        remedy = f"remove {newest} to {before}"
        verify(newest, remedy)
        with _named(newest, remedy):
            _fill(model, load_file(newest / "model.safetensors"))
            _set_moments(model, optimizer, load_file(newest / "optimizer.safetensors"))
            state = newest / COMPANIONS
            companion.resume(companions, load_file(state) if state.is_file() else {})
            return progress_of(newest)


def progress_of(checkpoint: Path) -> Progress:
    uncounted = {"joules": None, "energy_source": "a checkpoint from before energy was counted"}
    record = uncounted | json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    return Progress(**{f.name: record[f.name] for f in fields(Progress)})


def verify(checkpoint: Path, remedy: str) -> None:
    """ValueError unless every file is what it was when it was written."""
    sums = checkpoint / SUMS
    lines = sums.read_text().splitlines() if sums.is_file() else []
    expected = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    for name in (*FILES, COMPANIONS) if COMPANIONS in expected else FILES:
        path = checkpoint / name
        if name not in expected:
            raise ValueError(f"{sums} is missing or says nothing of {name}: {remedy}")
        if not path.is_file():
            raise ValueError(f"{path} is missing: {remedy}")
        if files.sha256(path) != expected[name]:
            raise ValueError(f"{path} is damaged, its sha256 is not the one in {SUMS} (truncated or edited?): {remedy}")


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

"""The scores of a finished run: its loss on held-out text, sequence by sequence.

For the sequences j = 1..m of a part (valid, test) and the draws k = 1..K of their masks

    S_j = sum over draws and targets of -log p(target)        T_j = number of those targets
    loss = sum_j S_j / sum_j T_j                              nats per target

A part is scored on `training.score_targets` targets, from evenly spaced sequences with one draw each. A part with fewer
targets is scored as a whole, with up to DRAWS draws. Distinct text comes first, because a second draw lowers only the
part of the error that the masks cause. With 65,536 targets, the standard error of the difference of two models is about
0.6 / sqrt(65,536) = 0.0023 nats: 0.6 nats is the standard deviation of one target's difference in our records. The
report computes the error of each pair from S_j (`reporting/numbers/crossed.py`). The validation part, by which learning
rates are chosen, gets a quarter of the targets.

    RUN/scores/PART.npz    losses (m,) S_j, float32; targets (m,) T_j; sequences (m,) their places in the part;
                           documents (m,) the document in which each begins
    run.json               results.scores.PART: loss, targets, sequences, draws, whole, context_free, sha256 of the file

Masks depend on (draw, sequence) only, so every run on the same data is scored on the same targets.
"""

import shutil
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from leanformer import files
from leanformer.data.masking import IGNORED
from leanformer.models import LeanformerPreTrainedModel
from leanformer.training.objectives.protocol import HeldOut, PretrainingObjective
from leanformer.training.objectives.sequences import spread

DRAWS = 8
"""The largest number of draws of masks per sequence."""
LOGITS = 2**25
"""The largest number of logits that are computed at a time: 128 MiB in float32."""


def score(
    model: LeanformerPreTrainedModel,
    objective: PretrainingObjective,
    targets: int,
    folder: Path,
    accelerator: Accelerator,
    dtype: torch.dtype | None,
) -> dict[str, Any]:
    """Score `model` on every held-out part and write the losses to `folder`; returns results.scores of run.json.

    The processes of a run share the sequences, and the first one writes; the others return nothing. `dtype` is the one
    of autocast, None for float32.
    """
    model.eval()
    arrays: dict[str, dict[str, NDArray]] = {}
    records: dict[str, dict[str, Any]] = {}
    for name, part, ids, draws in plans(objective, targets):
        sums = _losses(model, part, ids, draws, accelerator, dtype)
        if not accelerator.is_main_process:
            continue
        losses, counts = sums.cpu().numpy()
        arrays[name] = {
            "losses": losses.astype(np.float32),
            "targets": counts.astype(np.int64),
            "sequences": ids,
            "documents": part.documents(ids),
        }
        records[name] = {
            "loss": float(losses.sum() / counts.sum()),
            "targets": int(counts.sum()),
            "sequences": len(ids),
            "draws": draws,
            "whole": len(ids) == part.size,
            **part.floor(ids, draws),
        }
    if records:
        write(folder, arrays, records)
    return records


def plans(objective: PretrainingObjective, targets: int) -> Iterator[tuple[str, HeldOut, NDArray[np.int64], int]]:
    """Yields (name, part, sequences, draws) for every part that is scored."""
    for name, part in objective.held_out().items():
        ids, draws = plan(part, targets // 4 if name == "valid" else targets)
        if len(ids):
            yield name, part, ids, draws


def plan(part: HeldOut, targets: int) -> tuple[NDArray[np.int64], int]:
    """Returns the sequences of a part that give so many targets, and the draws of masks per sequence; none for 0."""
    wanted = ceil(targets / part.targets_per_sequence)
    ids = spread(part.size, wanted)
    draws = min(DRAWS, ceil(wanted / len(ids))) if part.random and len(ids) else 1
    return ids, draws


def write(folder: Path, arrays: Mapping[str, Mapping[str, NDArray]], records: dict[str, dict[str, Any]]) -> None:
    """Write the files of all parts or of none; each record gets the sha256 of its file.

    The scores during training (`score_points`), which are in folders below, stay.
    """
    with files.new_directory(folder) as new:
        for earlier in folder.glob("step-*"):
            shutil.copytree(earlier, new / earlier.name)
        for name, columns in arrays.items():
            np.savez_compressed(new / f"{name}.npz", allow_pickle=False, **columns)
            records[name]["sha256"] = files.sha256(new / f"{name}.npz")


@torch.no_grad()
def _losses(
    model: LeanformerPreTrainedModel,
    part: HeldOut,
    ids: NDArray[np.int64],
    draws: int,
    accelerator: Accelerator,
    dtype: torch.dtype | None,
) -> Tensor:
    """Returns (2, m) float64: S_j and T_j."""
    device = accelerator.device
    sums = torch.zeros(2, len(ids), dtype=torch.float64, device=device)
    for places in _chunks(model, part, len(ids), accelerator):
        for draw in range(draws):
            batch = {name: tensor.to(device) for name, tensor in part.batch(ids[places], draw).items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype is not None):
                logits_BNV, labels_BN = part.predictions(model, batch)
            losses_BN = cross_entropy(
                logits_BNV.float().flatten(0, 1), labels_BN.flatten(), ignore_index=IGNORED, reduction="none"
            ).view_as(labels_BN)
            at = torch.from_numpy(places).to(device)
            sums[0, at] += losses_BN.sum(1, dtype=torch.float64)
            sums[1, at] += (labels_BN != IGNORED).sum(1)
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums, reduction="sum")
    return sums


def _chunks(
    model: LeanformerPreTrainedModel, part: HeldOut, number: int, accelerator: Accelerator
) -> Iterator[NDArray[np.int64]]:
    """Yields the places in 0..m-1 of this process, as many at a time as LOGITS allows."""
    per_sequence = ceil(part.targets_per_sequence) * model.config.vocab_size
    size = max(1, min(64, LOGITS // per_sequence))
    for start in range(accelerator.process_index * size, number, accelerator.num_processes * size):
        yield np.arange(start, min(start + size, number))

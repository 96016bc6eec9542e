"""The fine-tuning method that the settings choose: the objective, its callbacks, and the work after training.

RUN/corrections.jsonl    one line per row of training data whose label was replaced: {"row", "given", "label"}, labels
                         by their number, if `finetuning.regsl.correct_from` is set
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leanformer import files
from leanformer.data.tasks import Task
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.finetuning.classifier import HEADS, NEW
from leanformer.finetuning.methods.absgd import Absgd
from leanformer.finetuning.methods.distance import DistanceConstraint
from leanformer.finetuning.methods.self_labelling import Labels, Reweighting
from leanformer.finetuning.methods.sparse import Sparsity
from leanformer.finetuning.methods.weighing import class_weights
from leanformer.finetuning.objective import TaskObjective, WeighedObjective
from leanformer.models.config import LeanformerConfig
from leanformer.settings import FinetuningSettings
from leanformer.training.run.callback import Callback

CORRECTIONS = "corrections.jsonl"
BALANCED = ("classification", "multi_label", "token_classification")
"""The kinds of tasks whose classes `loss = "balanced"` weighs."""


@dataclass(frozen=True)
class Method:
    objective: TaskObjective
    callbacks: Sequence[Callback] = ()
    labels: Labels | None = None
    sparsity: Sparsity | None = None
    class_weights: Tensor | None = None

    def finish(self, folder: Path) -> dict[str, Any]:
        """Make the model plain after training and write the corrections to `folder`; returns additional results."""
        found: dict[str, Any] = {}
        if self.sparsity is not None:
            found["sparse"] = self.sparsity.finish()
        if self.labels is not None:
            replaced = self.labels.replaced()
            files.write_json_lines(folder / CORRECTIONS, replaced)
            found["corrected_labels"] = len(replaced)
        return found


def require(task: Task, config: LeanformerConfig, settings: FinetuningSettings) -> None:
    """Raises ValueError if the task or the model cannot be fine-tuned by the method of the settings."""
    if settings.regsl.correct_from is not None and task.kind not in ("classification", "multiple_choice"):
        raise ValueError(f"finetuning.regsl.correct_from: {task.name} has no labels to correct; leave it out")
    if settings.loss == "balanced" and task.kind not in BALANCED:
        raise ValueError(f"finetuning.loss = 'balanced': {task.name} has no classes to weigh; choose mean")
    if settings.method != "dense" and config.shared_heads is not None:
        raise ValueError(f"finetuning.method = {settings.method!r}: heads of this model share maps; choose dense")


def choose(model: nn.Module, encoded: Encoded, settings: FinetuningSettings) -> Method:
    """Returns the method of the settings, and prepares `model` for it on its device."""
    arguments = (encoded, settings.batch_size, settings.epochs, settings.seed)
    objective = TaskObjective(*arguments)
    callbacks: list[Callback] = []
    absgd = Absgd.of(settings) if settings.loss == "absgd" else None
    regsl, labels, reweighting = settings.regsl, None, None
    if regsl.reweight_from is not None:
        reweighting = Reweighting(regsl.reweight_temperature, regsl.reweight_from)
    if regsl.correct_from is not None:
        labels = Labels(torch.from_numpy(encoded.labels), regsl.correct_above, regsl.correct_from)
    balanced = class_weights(torch.from_numpy(encoded.targets)) if settings.loss == "balanced" else None
    if absgd or reweighting or labels or balanced is not None:
        objective = weighed = WeighedObjective(*arguments, absgd or reweighting, labels, balanced)
        callbacks += [each for each in (weighed, absgd, labels) if each is not None]
    if regsl.distance is not None or regsl.head_distance is not None:
        callbacks.append(DistanceConstraint.of(model, HEADS, settings))
    sparsity = None
    if settings.method != "dense":
        sparsity = Sparsity(model, NEW, settings, objective.total_steps)
        callbacks.append(sparsity)
    return Method(objective, callbacks, labels, sparsity, balanced)

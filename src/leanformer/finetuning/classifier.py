"""A pre-trained encoder with a new head, from which fine-tuning starts."""

from pathlib import Path
from typing import Any

import torch

from leanformer.data.tasks import Task
from leanformer.evaluation.pretrained import CLASSIFIERS, require_encoder
from leanformer.models import LeanformerForSequenceClassification, LeanformerPreTrainedModel
from leanformer.models.initialisation import initialise
from leanformer.models.saved import config_of, load_weights

HEADS = ("classifier.", "qa_outputs.")
NEW = ("encoder.pooler.", *HEADS)
"""Prefixes of a classifier's parameters that a masked language model does not have."""
PROBLEMS: dict[str, Any] = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
"""The problem types of transformers for our kinds of task, where it has one."""


@torch.no_grad()
def rescale(model: LeanformerPreTrainedModel, mean: float, sd: float) -> None:
    """Change the head of a regression on (y - mean) / sd to give y:   W <- sd W,   b <- sd b + mean.

    So no reader of the model needs to know that its training was on standardised numbers.
    """
    head: Any = model.classifier
    head.weight.mul_(sd)
    head.bias.mul_(sd).add_(mean)


def load_classifier(folder: Path, task: Task, seed: int) -> LeanformerPreTrainedModel:
    """Returns the pre-trained encoder with a new head; its values, and a new pooler's, depend on `seed` only."""
    config = config_of(folder)
    require_encoder(folder, config)
    labels = () if task.kind == "multiple_choice" else task.labels
    names = labels or {"span": ("start", "end")}.get(task.kind, ("score",))
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = PROBLEMS.get(task.kind)
    kind = CLASSIFIERS.get(task.kind, LeanformerForSequenceClassification)
    model, missing = load_weights(kind, folder, config, new=NEW)
    if lost := [key for key in missing if not key.startswith(NEW)]:
        raise ValueError(f"{folder} lacks weights of its encoder, {lost[0]} is missing: save the model again")
    for module in NEW:
        if module in HEADS or any(key.startswith(module) for key in missing):
            initialise(model, seed, only=module.removesuffix("."))
    return model

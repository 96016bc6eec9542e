"""A pre-trained encoder under a new head: what fine-tuning starts from."""

from pathlib import Path
from typing import Any

from leanformer.data.tasks import Task
from leanformer.evaluation.pretrained import CLASSIFIERS, require_encoder
from leanformer.models import LeanformerForSequenceClassification, LeanformerPreTrainedModel
from leanformer.models.initialisation import initialise
from leanformer.models.saved import config_of, load_weights

HEADS = ("classifier.", "qa_outputs.")
NEW = ("encoder.pooler.", *HEADS)
"""Where a classifier starts that a masked language model does not have."""
PROBLEMS: dict[str, Any] = {"classification": "single_label_classification", "regression": "regression"}
"""What transformers calls our kinds of task, as far as it has a word."""


def load_classifier(folder: Path, task: Task, seed: int) -> LeanformerPreTrainedModel:
    """The pre-trained encoder under a new head, whose values (the pooler's too if it is new) depend on `seed` only."""
    config = config_of(folder)
    require_encoder(folder, config)
    names = {"classification": task.labels, "span": ("start", "end")}.get(task.kind, ("score",))
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

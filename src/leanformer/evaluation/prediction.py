"""What a fine-tuned model says of every example: the scores need it, and the statistics that compare two runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leanformer.data.buckets import evaluation_batches
from leanformer.data.tasks import Task
from leanformer.evaluation.encoding import Encoded
from leanformer.evaluation.metrics import Predicted
from leanformer.evaluation.objective import classify, losses
from leanformer.training import durable

BATCH_SIZE = 64
DIGITS = 6  # of a logit in the file, after the point


class Answers(NamedTuple):
    """In the order of the E examples; C labels, 1 for a regression."""

    logits: NDArray[np.float32]
    """(E, C)"""
    losses: NDArray[np.float32]
    """(E,)"""

    def predictions(self, task: Task) -> NDArray:
        """(E,) the label with the greatest logit; for a regression the number itself."""
        return self.logits[:, 0] if task.regression else self.logits.argmax(1)


@torch.inference_mode()
def answer(model: nn.Module, encoded: Encoded, device: torch.device) -> Answers:
    """Without dropout, in the weights' own precision, shortest examples first. ArithmeticError for NaN or infinity."""
    model.eval()
    logits, loss = [], []
    batches = evaluation_batches(encoded.lengths, BATCH_SIZE)
    for rows in batches:
        batch = {name: tensor.to(device) for name, tensor in encoded.batch(rows).items()}
        logits_BC = classify(model, batch)
        logits.append(logits_BC.float().cpu())
        loss.append(losses(logits_BC, batch["labels"]).cpu())
    back = np.argsort(np.concatenate(batches))
    answers = Answers(torch.cat(logits).numpy()[back], torch.cat(loss).numpy()[back])
    if not np.isfinite(answers.logits).all():
        raise ArithmeticError("the trained model answers with numbers that are not finite")
    return answers


def write_answers(path: Path, predicted: Mapping[str, Predicted], answers: Mapping[str, Answers]) -> None:
    """A JSON line an example: `split`, `index` (its place in all of them), `label`, `prediction`, `scores` (logits)."""
    lines: list[str] = []
    for split, (labels, predictions) in predicted.items():
        scores = np.round(answers[split].logits.astype(np.float64), DIGITS)
        for label, prediction, row in zip(labels.tolist(), predictions.tolist(), scores.tolist(), strict=True):
            line = {"split": split, "index": len(lines), "label": label, "prediction": prediction, "scores": row}
            lines.append(json.dumps(line) + "\n")
    durable.write_text(path, "".join(lines))

"""The predictions of a fine-tuned model for every example, for the scores and for statistics that compare two runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leanformer import files
from leanformer.data.buckets import budget_on, inference_batches
from leanformer.evaluation import metrics
from leanformer.evaluation.inputs.encoding import Encoded, Read
from leanformer.evaluation.metrics import Predicted

DIGITS = 6  # decimals of a logit in the file


class Answers(NamedTuple):
    read: Read
    """The predictions in the order of the E examples."""
    losses: NDArray[np.float32]
    """(R,) the loss of every row."""


@torch.inference_mode()
def answer(model: nn.Module, encoded: Encoded, device: torch.device) -> Answers:
    """Returns the model's answers, without dropout, in the weights' own precision, computed shortest rows first.

    Raises ArithmeticError for NaN or infinity.
    """
    model.eval()
    logits: list[NDArray[np.float32]] = []
    losses = []
    batches = inference_batches(encoded.lengths, budget_on(device.type))
    for rows in batches:
        batch = {name: tensor.to(device) for name, tensor in encoded.batch(rows).items()}
        outputs = encoded.logits(model, batch)
        if not outputs.isfinite().all():
            raise ArithmeticError("the trained model answers with numbers that are not finite")
        logits.extend(outputs.float().cpu().numpy())
        losses.append(encoded.losses(outputs, batch["labels"]).cpu())
    back = np.argsort(np.concatenate(batches))
    return Answers(encoded.read([logits[i] for i in back]), torch.cat(losses).numpy()[back])


def write_answers(path: Path, predicted: Mapping[str, Predicted], answers: Mapping[str, Answers]) -> None:
    """Write one JSON line per example: `split`, `index` (counted over all splits), `label`, `prediction`, `scores`.

    `scores` are logits. A text also has `metrics` of this one example, since label and prediction do not show them.
    """
    lines: list[str] = []
    for split, (labels, predictions, _) in predicted.items():
        rows = answers[split].read.scores
        for label, prediction, row in zip(labels.tolist(), predictions.tolist(), rows, strict=True):
            scores = [round(score, DIGITS) for score in row]
            line = {"split": split, "index": len(lines), "label": label, "prediction": prediction, "scores": scores}
            if isinstance(prediction, str):
                line["metrics"] = metrics.of_text(label, prediction)
            lines.append(json.dumps(line) + "\n")
    files.write_text(path, "".join(lines))

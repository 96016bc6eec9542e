"""The decision that a question has no answer (SQuAD 2.0: Devlin et al., 2019, section 4.3).

    margin = null - best        null = min over windows of start[CLS] + end[CLS],   best = that of the best span
    answer = "" if margin > threshold, else the best span

The threshold is the one with the highest token F1 on the validation questions, as in the official script; a score on
these questions has seen them, so a test file gives the unbiased one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leanformer.evaluation.answers import token_f1
from leanformer.evaluation.inputs.encoding import Read


def margins(read: Read) -> NDArray[np.float64]:
    """Returns (E,), null - best, from the scores [best, null] of every question."""
    best, null = np.array(read.scores, dtype=np.float64).T
    return null - best


def decided(read: Read, threshold: float) -> Read:
    """Returns the answers with "" where a question has none."""
    predictions = read.predictions.copy()
    predictions[margins(read) > threshold] = ""
    return read._replace(predictions=predictions)


def best_threshold(labels: Sequence[dict[str, list]], read: Read) -> float:
    """Returns the threshold between two margins (or beyond all) with the highest mean token F1."""
    margin = margins(read)
    order = np.argsort(margin, kind="stable")
    sorted_margins = margin[order]
    answered = np.array([token_f1([labels[i]], [read.predictions[i]]) for i in order])
    refused = np.array([token_f1([labels[i]], [""]) for i in order])
    # gain[k]: the k questions of the smallest margins are answered, the others are not
    gain = np.concatenate([[0.0], np.cumsum(answered - refused)])
    ends = np.concatenate([[sorted_margins[0] - 2], sorted_margins, [sorted_margins[-1] + 2]])
    apart = np.diff(ends) > 0  # no threshold lies between equal margins
    best = int(np.argmax(np.where(apart, gain, -np.inf)))
    return float((ends[best] + ends[best + 1]) / 2)

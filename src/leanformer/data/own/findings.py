"""What users should know of the labels in their files: counts, texts on both sides of a split, contradictions."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from leanformer.data import tags
from leanformer.data.examples import Examples
from leanformer.data.tasks import Task


def leaks(examples: dict[str, Examples]) -> list[str]:
    """Returns notes on texts of other splits that are training texts, too."""
    known = set(examples["train"].texts)
    return [note for split, part in examples.items() if split != "train" for note in leak(split, part.texts, known)]


def leak(split: str, texts: Sequence[tuple[str, ...]], known: Collection[tuple[str, ...]]) -> list[str]:
    """Returns a note if some texts of a split are training texts, `known`, too."""
    if not (seen := sum(each in known for each in texts)):
        return []
    share = f"{seen:,} of {len(texts):,} {split} rows"
    return [f"{share} have a text of training, too: their scores are better than those of new texts"]


def contradictions(train: Examples) -> list[str]:
    found: dict[tuple[str, ...], set[str]] = {}
    for texts, label in zip(train.texts, train.labels.tolist(), strict=True):
        found.setdefault(texts, set()).add(repr(label))
    count = sum(len(labels) > 1 for labels in found.values())
    return [f"training texts that occur with different labels: {count:,}"] if count else []


def counts(task: Task, part: Examples) -> dict[str, int] | None:
    """Returns how often each label occurs; of tokens, how many entities (or words) of each type."""
    if task.kind == "classification":
        counted = np.bincount(part.labels, minlength=len(task.labels))
        return dict(zip(task.labels, counted.tolist(), strict=True))
    if task.kind == "multi_label":
        return dict(zip(task.labels, part.labels.sum(0).tolist(), strict=True))
    if task.kind == "token_classification":
        if tags.OUTSIDE not in task.labels:
            return dict(Counter(tag for label in part.labels for tag in label["tags"]))
        return dict(Counter(found.label for label in part.labels for found in tags.entities(label["tags"])))
    return None

"""Classification of the words of a text, which is read in overlapping windows, so that no word is lost.

    tag of a word = argmax of the logits of its first token, in the window where that token is farthest from an end
    loss of a row = (1/m) sum over its words of -log softmax(logits)[tag],    m = mean number of words per row

A row is a window of at most `max_length` tokens; the windows of a text overlap by a third of that. A word is trained
and predicted in one window, so every word counts once. A word without a token (a character that the tokenizer drops)
gets the first label, `O` where there are entities.

R windows, B of them in a batch, L length of the longest one, C tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs import encoding
from leanformer.evaluation.inputs.encoding import Encoded, Read

IGNORED = -100
"""The label of a token that is not the first of a word."""


@dataclass(frozen=True)
class TaggedWords(Encoded):
    """Texts as windows; `labels` (R,) are objects: for each window, the tags of its tokens or `IGNORED`."""

    tags: tuple[str, ...]
    place: list[list[tuple[int, int] | None]]
    """`place[i][w]`: the window of word w of example i and the place of its first token there; None without one."""

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Returns (B, L) tensors, and labels (B, L)."""
        inputs = self.inputs(rows)
        labels = torch.full_like(inputs["input_ids"], IGNORED)
        for i, row in enumerate(rows):
            labels[i, : len(self.labels[row])] = torch.from_numpy(self.labels[row])
        return inputs | {"labels": labels}

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """The tags of all words that have a token, as positions in `tags`."""
        labels = np.concatenate(self.labels.tolist())
        return labels[labels != IGNORED]

    def losses(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns (B,); `weights` (C,) are those of the tags."""
        losses_BL = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
        if weights is not None:
            losses_BL = losses_BL * weights.to(labels.device)[labels.clamp(min=0)]
        return losses_BL.sum(1) / (max(1, len(self.targets)) / len(self.labels))

    def read(self, logits: Sequence[NDArray[np.float32]]) -> Read:
        """Returns a tuple of tags per example, and the probability of each."""
        predictions = np.empty(len(self.place), dtype=object)
        scores = []
        for i, places in enumerate(self.place):
            found = [(0, 1.0)] * len(places)
            for w, place in enumerate(places):
                if place is not None:
                    of = softmax(logits[place[0]][place[1]].astype(np.float64))
                    found[w] = int(of.argmax()), float(of.max())
            predictions[i] = tuple(self.tags[tag] for tag, _ in found)
            scores.append([probability for _, probability in found])
        return Read(predictions, scores)


def encode(
    tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int, tags: tuple[str, ...]
) -> TaggedWords:
    """Returns the texts in windows of at most `max_length` tokens."""
    encoding.require_room(tokenizer, max_length, pair=False)
    encoded = tokenizer(
        [text for (text,) in examples.texts],
        truncation=True,
        max_length=max_length,
        stride=(max_length - tokenizer.num_special_tokens_to_add()) // 3,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_offsets_mapping=True,
    )
    example = encoded.pop("overflow_to_sample_mapping")
    offsets = encoded.pop("offset_mapping")
    rows: list[list[int]] = [[] for _ in examples.texts]
    for row, i in enumerate(example):
        rows[i].append(row)
    place = [_places(label["words"], rows[i], offsets) for i, label in enumerate(examples.labels)]
    labels = np.empty(len(offsets), dtype=object)
    labels[:] = [np.full(len(row), IGNORED, dtype=np.int64) for row in offsets]
    number = {tag: n for n, tag in enumerate(tags)}
    for label, places in zip(examples.labels, place, strict=True):
        for tag, at in zip(label["tags"], places, strict=True):
            if at is not None and labels[at[0]][at[1]] == IGNORED:
                labels[at[0]][at[1]] = number[tag]
    cut = np.zeros(len(examples.texts), dtype=bool)
    return TaggedWords(examples, dict(encoded), labels, cut, tokenizer.pad_token_id or 0, tags, place)


def _places(
    words: Sequence[tuple[int, int]], rows: Sequence[int], offsets: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[int, int] | None]:
    """Returns the window and the place of the first token of each word, where it is farthest from an end."""
    begins, ends = np.array(words, dtype=np.int64).reshape(-1, 2).T
    best = np.full(len(words), -1)
    window, at = np.zeros((2, len(words)), dtype=np.int64)
    for row in rows:
        tokens = np.array(offsets[row], dtype=np.int64)
        (real,) = np.nonzero(tokens[:, 1] > tokens[:, 0])  # special tokens have no characters
        if not len(real):
            continue
        first = np.searchsorted(tokens[real, 1], begins, side="right")  # its end is behind the word's begin
        inside = np.minimum(first, len(real) - 1)
        there = (first < len(real)) & (tokens[real[inside], 0] < ends)
        place = real[inside]
        distance = np.where(there, np.minimum(place, len(tokens) - 1 - place), -1)
        better = distance > best
        best[better], window[better], at[better] = distance[better], row, place[better]
    found = zip(best.tolist(), window.tolist(), at.tolist(), strict=True)
    return [(row, place) if distance >= 0 else None for distance, row, place in found]

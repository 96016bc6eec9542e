"""Span extraction: the answer to a question is a part of its context, which is read in overlapping windows.

    answer = argmax over windows w and tokens i <= j < i + 30 of the context in w of   start_w[i] + end_w[j]
    loss   = mean of -log softmax(start)[first token of the answer] and -log softmax(end)[its last token]

A window is `[CLS] question [SEP] a part of the context [SEP]` of at most `max_length` tokens. The parts overlap by a
third of `max_length` (in BERT 128 of 384 tokens; Devlin et al., 2019), and a longer question is cut to a third. A
window that does not hold the whole answer is trained to point at [CLS], which is never an answer. An epoch reads every
window once. Where questions may have no answer, `no_answer.py` compares the best span with [CLS].

R windows, B of them in a batch, L length of the longest one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import Encoded, Read, outputs
from leanformer.training.objectives.protocol import Batch

MAX_ANSWER = 30
"""The most tokens of an answer."""


@dataclass(frozen=True)
class Windows(Encoded):
    """Examples as windows; `labels` (R, 2) are the first and the last token of the answer."""

    example: NDArray[np.int64]
    """(R,) the example of each window."""
    first: NDArray[np.int64]
    """(R,) the place of the first token of the context in each window."""
    offsets: list[NDArray[np.int64]]
    """The characters [begin, end) of the tokens of the context, (tokens, 2) for every window."""
    unanswerable: bool = False
    """Whether a question may have no answer; then the smallest sum of logits of [CLS] is among the scores."""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, L, 2)."""
        out = outputs(model, batch)
        return torch.stack([out.start_logits, out.end_logits], -1)

    def losses(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return F.cross_entropy(logits.float(), labels, reduction="none").mean(1)

    def constant_loss(self, weights: Tensor | None = None) -> float | None:
        return None  # windows differ in length

    def read(self, logits: Sequence[NDArray[np.float32]]) -> Read:
        """Returns the best span over all windows of each example, and its sum of logits (and that of [CLS])."""
        windows = zip(logits, self.first, self.offsets, strict=True)
        spans = [_best(part[first : first + len(offsets)]) for part, first, offsets in windows]
        scores = np.array([score for *_, score in spans])
        order = np.lexsort((-scores, self.example))  # the best window of each example first
        best = order[np.unique(self.example[order], return_index=True)[1]]
        texts = np.empty(len(best), dtype=object)
        for i, row in enumerate(best.tolist()):
            begin, end, _ = spans[row]
            _, context = self.examples.texts[i]
            # Some tokenizers count the space before a word as a part of it, but it is no part of an answer.
            texts[i] = context[self.offsets[row][begin, 0] : self.offsets[row][end, 1]].strip()
        if not self.unanswerable:
            return Read(texts, scores[best, None].tolist())
        nulls = np.full(len(best), np.inf)
        np.minimum.at(nulls, self.example, [float(part[0].astype(np.float64).sum()) for part in logits])
        return Read(texts, np.stack([scores[best], nulls], 1).tolist())


def encode(tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> Windows:
    third, special = max_length // 3, tokenizer.num_special_tokens_to_add(pair=True)
    if max_length <= 3 * special:  # the question and the overlap take two thirds
        raise ValueError(f"finetuning.max_length = {max_length}: windows of a context need at least {3 * special + 1}")
    questions, cut = _shortened(tokenizer, [question for question, _ in examples.texts], third)
    contexts = [context for _, context in examples.texts]
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=max_length,
        stride=third,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_offsets_mapping=True,
    )
    example = np.array(encoded.pop("overflow_to_sample_mapping"), dtype=np.int64)
    pieces = [_piece(encoded, row, examples.texts[i][1]) for row, i in enumerate(example.tolist())]
    first, offsets = np.array([first for first, _ in pieces]), [offsets for _, offsets in pieces]
    labels = [_target(examples.labels[i], *piece) for i, piece in zip(example.tolist(), pieces, strict=True)]
    columns = {name: ids for name, ids in encoded.items() if name != "offset_mapping"}
    pad = tokenizer.pad_token_id or 0
    return Windows(examples, columns, np.array(labels), cut, pad, example, first, offsets)


def _shortened(
    tokenizer: PreTrainedTokenizerBase, questions: list[str], length: int
) -> tuple[list[str], NDArray[np.bool_]]:
    """Returns the questions, cut to `length` tokens, and which of them were cut."""
    encoded = tokenizer(
        questions, truncation=True, max_length=length, add_special_tokens=False, return_offsets_mapping=True
    )
    cut = [bool(encoding.overflowing) for encoding in encoded.encodings or []]
    ends = [offsets[-1][1] if offsets else 0 for offsets in encoded["offset_mapping"]]
    short = [text[:end] if over else text for text, end, over in zip(questions, ends, cut, strict=True)]
    return short, np.array(cut)


def _piece(encoded: Any, row: int, context: str) -> tuple[int, NDArray[np.int64]]:
    """Returns the place of the first token of the context in a window, and the characters of its tokens."""
    (places,) = np.nonzero(np.array([part == 1 for part in encoded.sequence_ids(row)]))
    if not places.size:
        raise ValueError(f"the tokenizer makes no token of the context {context[:60]!r}: drop its rows")
    return int(places[0]), np.array(encoded["offset_mapping"][row], dtype=np.int64)[places]


def _target(answers: dict[str, list], first: int, offsets: NDArray[np.int64]) -> tuple[int, int]:
    """Returns the places of the ends of the first right answer in a window, or twice that of [CLS], 0."""
    if not answers["text"]:
        return 0, 0
    begin = answers["answer_start"][0]
    end = begin + len(answers["text"][0])
    if offsets[0, 0] > begin or offsets[-1, 1] < end:
        return 0, 0
    start = int(np.searchsorted(offsets[:, 0], begin, side="right")) - 1
    return first + start, first + int(np.searchsorted(offsets[:, 1], end))


def _best(logits: NDArray[np.float32]) -> tuple[int, int, float]:
    """Returns (i, j, start[i] + end[j]) of the best span in logits (tokens, 2)."""
    starts, ends = logits.astype(np.float64).T
    behind = np.pad(ends, (0, MAX_ANSWER - 1), constant_values=-np.inf)
    sums = starts[:, None] + sliding_window_view(behind, MAX_ANSWER)  # (tokens, MAX_ANSWER): start, tokens behind it
    i, length = divmod(int(sums.argmax()), MAX_ANSWER)
    return i, i + length, float(sums[i, length])

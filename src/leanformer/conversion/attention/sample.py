"""A sample of text in batches of token ids: what a conversion is fitted to and measured on.

    model with a masked-LM head    sequences of packed text, as it was trained on
    headless model                 one row per line or record of the text, as it embeds them, with padding: with the
                                   parts of sentence-transformers behind their prompt, in their case and length
    data directory                 its held-out sequences, for either

Shape letters: B batch, L length.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leanformer.data.corpus import Corpus
from leanformer.data.readers import documents
from leanformer.evaluation.perplexity import in_memory
from leanformer.evaluation.sentence_reading import default_prompt, follow_parts
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.sentence_parts import SentenceParts
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.sequences import spread

LEAST, PER_CHANNEL = 16_384, 43
"""Most tokens of a sample: so many, and for wide models so many per channel, since an output map is fitted to them."""
BATCH, MASKED = 2_048, 512
"""Most tokens of a batch with its padding, and most sequences that the loss is taken over."""
TRIAL = 1_024
"""Most lines whose lengths say how many lines have so many tokens: a long file is not encoded for a part of it."""


class Rows(NamedTuple):
    """A batch: token ids (B, L), and which of them are no padding, (B, L); None if none is."""

    ids: Tensor
    mask: Tensor | None

    def kept(self, x: Tensor) -> Tensor:
        """(B, L, ...) -> (N, ...), without padding."""
        return x.flatten(0, 1) if self.mask is None else x[self.mask]

    @property
    def lengths(self) -> Tensor:
        """(B,)"""
        return torch.full((len(self.ids),), self.ids.shape[1]) if self.mask is None else self.mask.sum(1)


class Sample:
    """A text, or a directory made by `prepare`, in rows of at most `length` tokens, the specials included; where it has
    more than a model of this `width` needs, evenly spread rows of it.

    ValueError if packed text has not one sequence of this length.
    """

    def __init__(
        self,
        text: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        packed: bool = True,
        parts: SentenceParts | None = None,
        width: int = 0,
    ) -> None:
        path, tokens = Path(text), max(LEAST, PER_CHANNEL * width)
        self.length = length
        self.corpus: Corpus | None = None
        if not packed and not path.is_dir():
            if parts is not None:
                self.length = parts.max_length(length)
                follow_parts(parts, tokenizer)
            self._rows = _lines(text, tokenizer, self.length, default_prompt(parts), tokens)
            return
        self.corpus = Corpus.open(path) if path.is_dir() else in_memory(tokenizer, text)
        total = self.corpus.valid.sequences(length)
        if not total:
            raise ValueError(f"{text} has {len(self.corpus.valid):,} tokens, not one sequence of {length}: give more")
        self._rows = list(self.corpus.valid.batch(spread(total, max(1, tokens // length)), length))

    @cached_property
    def batches(self) -> list[Rows]:
        """Rows of similar lengths together, so that little is padded."""
        return [_padded(rows) for rows in _grouped(sorted(self._rows, key=len))]

    @torch.inference_mode()
    def loss(self, model: Any) -> float | None:
        """Returns the loss on masked tokens, with the masks of every validation; None if the model has no such head."""
        if not isinstance(model, LeanformerForMaskedLM) or self.corpus is None:
            return None
        how = {"sequence_length": self.length, "batch_size": 1, "validation_sequences": MASKED}
        objective = MaskedLM(self.corpus, TrainingSettings.of(how))
        loss, targets = 0.0, 0
        for batch in objective.validation_batches(0, 1):
            loss += float(objective.loss_sum(model, batch))
            targets += objective.num_targets(batch)
        return loss / targets


def _lines(text: str | Path, tokenizer: PreTrainedTokenizerBase, length: int, prompt: str, tokens: int) -> list[Any]:
    """Returns [CLS] prompt line [SEP] of evenly spread lines or records, cut to the length; about so many tokens."""
    lines = list(documents(text, separator="lines"))

    def rows(number: int) -> list[Any]:
        given = [prompt + lines[i] for i in spread(len(lines), number)]
        ids = tokenizer(given, truncation=True, max_length=length, return_attention_mask=False)["input_ids"]
        return [np.array(row, dtype=np.int64) for row in ids]

    trial = rows(TRIAL)
    return rows(max(1, len(trial) * tokens // sum(map(len, trial))))


def _grouped(rows: list[Any]) -> Iterator[list[Any]]:
    """Batches of neighbours, each of at most `BATCH` tokens with its padding, or of one row."""
    group: list[Any] = []
    for row in rows:
        if group and (len(group) + 1) * len(row) > BATCH:
            yield group
            group = []
        group.append(row)
    yield group


def _padded(rows: list[Any]) -> Rows:
    longest = len(rows[-1])
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.int64))
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(longest) < lengths[:, None]
    return Rows(ids, None if bool(mask.all()) else mask)

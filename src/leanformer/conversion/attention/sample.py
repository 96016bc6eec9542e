"""A sample of text, read by a model: what its attention layers are given, where they look, and how well it predicts.

Shape letters: B batch, L length, D width, H heads.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from leanformer.attention import MultiHeadAttention
from leanformer.data.corpus import Corpus
from leanformer.evaluation.perplexity import in_memory
from leanformer.models import LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.sequences import spread

SEQUENCES, BATCH, MASKED = 256, 8, 512
"""Sequences that statistics are made of, in one forward pass, and that the loss is taken over; at most."""


class Statistics(NamedTuple):
    """Statistics of one layer in float64: moments of its input x, and the mean weights of its heads."""

    mean: Tensor  # D
    second: Tensor  # D D, E x x'
    weights: Tensor | None = None  # H L L


def unknown(width: int) -> Statistics:
    """Without a text: uncorrelated numbers of variance one, under which errors of logits are errors of weights."""
    return Statistics(torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64))


class Sample:
    """A text, or a directory made by `prepare`, in sequences of `length` tokens, the specials included; evenly spread.

    ValueError if it has not one.
    """

    def __init__(self, text: str | Path, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        path = Path(text)
        self.corpus = Corpus.open(path) if path.is_dir() else in_memory(tokenizer, text)
        self.length, total = length, self.corpus.valid.sequences(length)
        if not total:
            raise ValueError(f"{text} has {len(self.corpus.valid):,} tokens, not one sequence of {length}: give more")
        self.ids = spread(total, SEQUENCES)

    def batches(self) -> Iterator[Tensor]:
        for first in range(0, len(self.ids), BATCH):
            yield torch.from_numpy(self.corpus.valid.batch(self.ids[first : first + BATCH], self.length)).long()

    @torch.inference_mode()
    def statistics(self, model: Any) -> list[Statistics]:
        """Returns the statistics of every layer, means over all tokens of the sample."""
        layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        sums: list[Any] = [[0.0, 0.0, 0.0] for _ in layers]
        handles = [
            layer.register_forward_pre_hook(_adder(moments)) for layer, moments in zip(layers, sums, strict=True)
        ]
        try:
            for ids_BL in self.batches():
                for moments, weights in zip(sums, attentions(model, ids_BL), strict=True):
                    moments[2] = moments[2] + weights.sum(0)
        finally:
            for handle in handles:
                handle.remove()
        sequences = len(self.ids)
        tokens = sequences * self.length
        return [Statistics(first / tokens, second / tokens, w / sequences) for first, second, w in sums]

    @torch.inference_mode()
    def divergence(self, model: Any, other: Any) -> list[float]:
        """Returns, per layer, the mean of KL(w || w') between the models' weights over heads and tokens, in nats."""
        sums: list[float] = []
        for ids_BL in self.batches():
            pairs = zip(attentions(model, ids_BL), attentions(other, ids_BL), strict=True)
            found = [_divergence(old, new) * len(ids_BL) for old, new in pairs]
            sums = [a + b for a, b in zip(sums or [0.0] * len(found), found, strict=True)]
        return [value / len(self.ids) for value in sums]

    @torch.inference_mode()
    def loss(self, model: Any) -> float | None:
        """Returns the loss on masked tokens, with the masks of every validation; None if the model has no such head."""
        if not isinstance(model, LeanformerForMaskedLM):
            return None
        how = {"sequence_length": self.length, "batch_size": 1, "validation_sequences": MASKED}
        objective = MaskedLM(self.corpus, TrainingSettings.of(how))
        loss, targets = 0.0, 0
        for batch in objective.validation_batches(0, 1):
            loss += float(objective.loss_sum(model, batch))
            targets += objective.num_targets(batch)
        return loss / targets


def attentions(model: Any, ids_BL: Tensor) -> list[Tensor]:
    """(B, H, L, L) of every layer, float64."""
    found = model.base_model(input_ids=ids_BL, output_attentions=True).attentions
    return [weights.double() for weights in found]


def _adder(moments: list[Any]) -> Callable[[nn.Module, Any], None]:
    def add(_module: nn.Module, inputs: Any) -> None:
        x = inputs[0].flatten(0, 1).double()
        moments[0], moments[1] = moments[0] + x.sum(0), moments[1] + x.T @ x

    return add


def _divergence(old: Tensor, new: Tensor) -> float:
    return float((torch.special.xlogy(old, old) - torch.special.xlogy(old, new.clamp(min=1e-30))).sum(-1).mean())

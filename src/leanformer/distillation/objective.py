"""Distillation as an objective of the training loop: masked-LM training beside which a teacher is asked.

    loss = w masked_lm + (1 - w) distillation + g distance,    w = `masked_lm_weight`

    logits     the mean over masked positions of  T^2 KL( softmax(teacher / T) || softmax(student / T) ) of the words
               there; T^2 keeps the size of gradients (Hinton et al., 2015, "Distilling the Knowledge in a Neural
               Network", section 2)
    minilm, minilm2    relations of tokens (`relations.py`), the mean over a sequence's tokens, padding not among them

    distance   the mean distance of pairs of heads that are to be shared, g = `share_weight` (`conversion.head_sharing`)

The loop sums over masked positions and divides by their number; so a sequence counts with its relations as often as it
has masked positions, which is the same number for nearly all, however batches are cut.

Sequences, masks and validation are those of `MaskedLM`: evaluated, a student answers for itself, in its own attention,
and its loss compares with that of any run on the same data. The teacher is evaluated and frozen, and runs under the
same autocast on the same corrupted sequences.

Shape letters: B batch, L length, N masked positions a sequence, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention
from leanformer.conversion.attention.head_sharing import Pair, post_share_penalty
from leanformer.data.corpus import Corpus
from leanformer.distillation.divergence import divergence
from leanformer.distillation.gradual import blended, share
from leanformer.distillation.relations import minilm, minilm2
from leanformer.distillation.watch import attention_layers, watched
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.encoder import boolean_mask
from leanformer.models.loss import IGNORED
from leanformer.settings import DistillationSettings, TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.protocol import Batch

ANNEAL = "anneal"
"""The entry of a batch with the student's share of attention, while the teacher has one too."""


class Distillation(MaskedLM):
    def __init__(
        self,
        corpus: Corpus,
        training: TrainingSettings,
        settings: DistillationSettings,
        teacher: LeanformerForMaskedLM,
        world: int = 1,
        pairs: Sequence[Pair] = (),
    ) -> None:
        super().__init__(corpus, training, world)
        if settings.anneal and self.total_steps is None:
            raise ValueError("distillation.anneal needs a budget in steps or tokens, not training.max_seconds")
        self.distillation, self.pairs = settings, pairs
        self.teacher = teacher.eval().requires_grad_(False)

    def cache_on_device(self, device: torch.device) -> None:
        super().cache_on_device(device)
        self.teacher.to(device)

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        a, batches = self.share(step), super().micro_batches(step, rank, world)
        return batches if a == 1 else [batch | {ANNEAL: torch.tensor(a)} for batch in batches]

    def share(self, step: int) -> float:
        """The student's, of the attention in this step."""
        anneal, total = self.distillation.anneal, self.total_steps
        return share(self.tokens(step) / self.tokens(total), anneal) if anneal and total else 1.0

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        a = batch.get(ANNEAL)
        batch = _but(batch, ANNEAL)
        if not model.training:
            return super().loss_sum(model, batch)
        between: AbstractContextManager[None] = nullcontext() if a is None else blended(model, self.teacher, a)
        inputs, weight = self.read(batch), self.distillation.masked_lm_weight
        if weight == 1:
            with between:
                loss = model(**inputs, num_items_in_batch=1, return_logits=False).loss
        else:
            learn = self.from_logits if self.distillation.method == "logits" else self.from_relations
            masked_lm, taught = learn(model, inputs, between)
            loss = weight * masked_lm + (1 - weight) * taught
        return loss + self.distance(model, inputs) if self.pairs else loss

    def distance(self, model: nn.Module, inputs: Batch) -> Tensor:
        """Of the pairs, weighed; as often as there are masked positions, by whose number the loop divides."""
        distance = post_share_penalty(extract_model_from_parallel(model), self.pairs)
        return self.distillation.share_weight * distance * (inputs["labels"] != IGNORED).sum()

    def from_logits(
        self, model: nn.Module, inputs: Batch, between: AbstractContextManager[None]
    ) -> tuple[Tensor, Tensor]:
        """Both parts of the loss, summed over masked positions."""
        temperature = self.distillation.temperature
        with torch.no_grad():
            wanted_BNV = self.teacher(**_but(inputs, "labels")).logits
        with between:
            answer = model(**inputs, num_items_in_batch=1)
        loss_BN = temperature**2 * divergence(wanted_BNV / temperature, answer.logits / temperature)
        return answer.loss, loss_BN.where(inputs["labels"] != IGNORED, 0.0).sum()

    def from_relations(
        self, model: nn.Module, inputs: Batch, between: AbstractContextManager[None]
    ) -> tuple[Tensor, Tensor]:
        """The same; a sequence's relations are weighed by its number of masked positions."""
        settings, teachers = self.distillation, attention_layers(self.teacher)
        with torch.no_grad(), watched(_layer(teachers, settings.teacher_layer)) as teacher:
            self.teacher.encoder(**_but(inputs, "labels", "masked_positions"))
        with between, watched(_layer(attention_layers(model), settings.student_layer)) as student:
            masked_lm = model(**inputs, num_items_in_batch=1, return_logits=False).loss

        mask = inputs.get("attention_mask")
        allowed_BHLL = None if mask is None else boolean_mask(mask)
        if settings.method == "minilm":
            loss_BL = minilm(teacher, student, allowed_BHLL)
        else:
            heads = settings.relation_heads or teacher.layer.shape.num_heads
            loss_BL = minilm2(teacher, student, heads, allowed_BHLL)
        real_BL = mask.bool() if mask is not None and mask.ndim == 2 else torch.ones_like(loss_BL, dtype=torch.bool)
        mean_B = loss_BL.where(real_BL, 0.0).sum(dim=1) / real_BL.sum(dim=1).clamp(min=1)
        return masked_lm, (mean_B * (inputs["labels"] != IGNORED).sum(dim=1)).sum()


def _layer(layers: list[MultiHeadAttention], number: int | None) -> MultiHeadAttention:
    """Counted from 1; None is the last."""
    return layers[-1 if number is None else number - 1]


def _but(inputs: Batch, *names: str) -> Batch:
    return {name: tensor for name, tensor in inputs.items() if name not in names}

"""Distillation as an objective: what a student is asked, however its batch is cut, and what it is validated by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from leanformer import LeanformerConfig
from leanformer.data.corpus import Corpus
from leanformer.distillation.objective import Distillation
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.loss import IGNORED
from leanformer.settings import DistillationSettings, TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM

LENGTH = 13
SIZES: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 14,
    "num_attention_heads": 7,
    "num_hidden_layers": 2,
    "intermediate_size": 11,
    "max_position_embeddings": LENGTH,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
METHODS = ["logits", "minilm", "minilm2"]


def new_model(attention: str = "dot_product", seed: int = 1, **sizes: Any) -> LeanformerForMaskedLM:
    made = LeanformerForMaskedLM(LeanformerConfig(**SIZES | {"attention": attention} | sizes))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made.train()


@pytest.fixture
def objective(corpus: Path) -> Callable[..., Distillation]:
    def make(teacher: LeanformerForMaskedLM, training: dict[str, Any] | None = None, **settings: Any) -> Distillation:
        plan = {"max_steps": 50, "batch_size": 22, "sequence_length": LENGTH, "validation_sequences": 17}
        plan |= training or {}
        return Distillation(Corpus.open(corpus), TrainingSettings.of(plan), DistillationSettings.of(settings), teacher)

    return make


def gradients(model: LeanformerForMaskedLM) -> list[Tensor | None]:
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("attention", ["dot_product", "symmetric", "random"])
def test_an_identical_student_has_only_words_to_learn(method: str, attention: str, objective: Any) -> None:
    one = objective(new_model(attention), method=method, masked_lm_weight=0.0)
    student = new_model(attention)
    (batch,) = one.micro_batches(3, 0, 1)
    loss = one.loss_sum(student, batch)
    assert_close(float(loss.detach()) / one.num_targets(batch), 0.0, rtol=0, atol=1e-6)
    loss.backward()
    for gradient in gradients(student):
        assert gradient is not None
        assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["dot_product", "pairwise"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_logits_are_the_formula(attention: str, temperature: float, objective: Any) -> None:
    teacher, student = new_model().double(), new_model(attention, 2).double()
    one = objective(teacher, masked_lm_weight=0.3, temperature=temperature)
    (batch,) = one.micro_batches(3, 0, 1)
    asked = {name: batch[name] for name in ("input_ids", "masked_positions")}
    expected = torch.zeros((), dtype=torch.float64)
    for wanted, given, labels in zip(teacher(**asked).logits, student(**asked).logits, batch["labels"], strict=True):
        for z, y, label in zip(wanted, given, labels.tolist(), strict=True):
            if label != IGNORED:
                p, q = (z / temperature).softmax(0), (y / temperature).softmax(0)
                kl = (p * (p.log() - q.log())).sum()
                expected = expected + 0.7 * temperature**2 * kl - 0.3 * y.softmax(0)[label].log()
    assert_close(one.loss_sum(student, batch), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("attention", "anneal"), [("symmetric", 0.0), ("random", 0.5)])
def test_the_cut_into_batches_has_no_say(method: str, attention: str, anneal: float, objective: Any) -> None:
    """Nor have numbers of targets that differ: the loss and its gradient are sums over sequences."""
    one = objective(new_model(), method=method, anneal=anneal)
    (batch,) = one.micro_batches(7, 0, 1)
    batch["labels"][3] = IGNORED
    batch["labels"][5:9, 0] = IGNORED
    whole, cut = new_model(attention, 2), new_model(attention, 2)
    loss = one.loss_sum(whole, batch)
    loss.backward()
    total, targets = 0.0, 0
    for rows in (slice(0, 4), slice(4, 5), slice(5, 22)):
        part = {name: tensor[rows] if tensor.ndim else tensor for name, tensor in batch.items()}
        share = one.loss_sum(cut, part)
        share.backward()
        total, targets = total + float(share.detach()), targets + one.num_targets(part)
    assert targets == one.num_targets(batch)
    assert_close(total, float(loss.detach()), rtol=1e-5, atol=0)
    assert_close(gradients(cut), gradients(whole), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_teacher_does_not_learn(method: str, objective: Any) -> None:
    teacher = new_model().train()
    one = objective(teacher, method=method, anneal=0.5)
    student = new_model("symmetric", 2)
    one.loss_sum(student, one.micro_batches(5, 0, 1)[0]).backward()
    assert not teacher.training and gradients(teacher) == [None] * len(gradients(teacher))
    assert all(gradient is not None for gradient in gradients(student))


def test_padding_is_no_part_of_relations(objective: Any) -> None:
    """A sequence's mean is over its real tokens, in any company, whatever the padding holds."""
    one = objective(new_model(), method="minilm2", masked_lm_weight=0.0)
    student = new_model("symmetric", 2)
    (batch,) = one.micro_batches(3, 0, 1)
    real = torch.ones_like(batch["input_ids"])
    real[:, 9:] = 0
    batch["masked_positions"].clamp_(max=8)
    short = batch | {"input_ids": batch["input_ids"][:, :9], "attention_mask": real[:, :9]}
    for filling in (0, 7):
        padded = batch | {"input_ids": batch["input_ids"].where(real.bool(), filling), "attention_mask": real}
        assert_close(one.loss_sum(student, padded), one.loss_sum(student, short))


@pytest.mark.parametrize("method", METHODS)
def test_validation_is_the_masked_language_models(method: str, corpus: Path, objective: Any) -> None:
    one = objective(new_model(), method=method, anneal=0.5)
    plain = MaskedLM(Corpus.open(corpus), one.settings)
    student = new_model("symmetric", 2).eval()
    with torch.no_grad():
        for batch, other in zip(one.validation_batches(0, 1), plain.validation_batches(0, 1), strict=True):
            assert_close(one.loss_sum(student, batch), plain.loss_sum(student, other), rtol=0, atol=0)


def test_the_teacher_s_share_of_attention_falls(objective: Any) -> None:
    one = objective(new_model(), anneal=0.4)
    assert [one.share(step) for step in (0, 5, 10, 20, 49)] == [0.0, 0.25, 0.5, 1.0, 1.0]
    batches = [one.micro_batches(step, 0, 1)[0] for step in (0, 20)]
    assert float(batches[0]["anneal"]) == 0 and "anneal" not in batches[1]


def test_without_a_share_for_the_teacher_s_word_it_is_not_asked(corpus: Path, objective: Any) -> None:
    one = objective(new_model(), masked_lm_weight=1.0)
    one.teacher = None
    plain, student = MaskedLM(Corpus.open(corpus), one.settings), new_model("symmetric", 2)
    (batch,) = one.micro_batches(3, 0, 1)
    assert_close(one.loss_sum(student, batch), plain.loss_sum(student, batch), rtol=0, atol=0)


def test_documents_are_kept_apart_in_relations_too(objective: Any) -> None:
    """The second document's words have no say in the first one's relations."""
    training = {"document_mask": True}
    one = objective(new_model(), training, method="minilm2", masked_lm_weight=0.0)
    student = new_model("symmetric", 2)
    (batch,) = one.micro_batches(3, 0, 1)
    batch["documents"] = (torch.arange(LENGTH) >= 7).long().expand(22, LENGTH).contiguous()
    alone = []
    for part in (slice(0, 7), slice(7, 13)):
        cut = batch | {name: batch[name][:, part] for name in ("input_ids", "documents")}
        cut["masked_positions"] = batch["masked_positions"] * 0
        alone.append(one.loss_sum(student, cut))
    assert_close(one.loss_sum(student, batch), alone[0] * 7 / 13 + alone[1] * 6 / 13)

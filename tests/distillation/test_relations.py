"""Relations of tokens: the formulas in float64, and which of them a mechanism has."""

from collections.abc import Callable
from copy import deepcopy
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from leanformer.attention import names
from leanformer.distillation.divergence import divergence
from leanformer.distillation.relations import minilm, minilm2, relation_scores, relations
from leanformer.distillation.watch import Watched, attention_layers, watched
from leanformer.models import LeanformerForMaskedLM

PAIRS = [("dot_product", "dot_product"), ("dot_product", "symmetric"), ("pairwise", "shared"), ("dense", "random")]


def seen(model: LeanformerForMaskedLM, batch: dict[str, Tensor], number: int = -1) -> Watched:
    with watched(attention_layers(model)[number]) as layer:
        model(**batch)
    return layer


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Of two distributions in float64."""
    return sum(a * (a.log() - b.log()) for a, b in zip(p, q, strict=True))


def vectors(layer: Watched, name: str, example: int, length: int) -> Tensor:
    """(L, E) of one text, all heads in a row."""
    return getattr(layer.heads, name)[example, :, :length].transpose(0, 1).flatten(1)


def by_formula(teacher: Watched, student: Watched, name: str, heads: int, example: int, length: int) -> Tensor:
    """Of one text, cut to its real tokens: (L,), written out."""
    losses = []
    for i in range(length):
        total = torch.zeros((), dtype=torch.float64)
        for r in range(heads):
            sides = []
            for layer in (teacher, student):
                x = vectors(layer, name, example, length)
                size = x.shape[1] // heads
                part = x[:, r * size : (r + 1) * size]
                sides.append(torch.stack([(part[i] * part[j]).sum() / sqrt(size) for j in range(length)]).softmax(0))
            total = total + kl(*sides) / heads
        losses.append(total)
    return torch.stack(losses)


def test_divergence_is_the_formula_and_knows_no_masked_place() -> None:
    teacher, student = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    allowed = torch.rand(5, 7) < 0.6
    allowed[2] = False
    allowed[3] = True
    found = divergence(teacher, student, allowed)
    for row in range(5):
        kept = allowed[row]
        expected = [
            kl(t[row, kept].softmax(-1), s[row, kept].softmax(-1)) for t, s in zip(teacher, student, strict=True)
        ]
        assert_close(found[:, row], torch.tensor([float(value) for value in expected], dtype=torch.float64))
    assert_close(divergence(teacher, teacher, allowed), torch.zeros(3, 5, dtype=torch.float64), rtol=0, atol=0)


def test_a_masked_place_has_no_gradient() -> None:
    student = torch.randn(3, 7, requires_grad=True)
    allowed = torch.arange(7) < 5
    divergence(torch.randn(3, 7), student, allowed).sum().backward()
    assert student.grad is not None and not student.grad[:, 5:].any() and student.grad[:, :5].all()


@pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)
def test_minilm2_is_the_formula(of_teacher: str, of_student: str, model: Any, batch: dict[str, Tensor]) -> None:
    """Other widths and numbers of heads; relation heads that are neither's."""
    teacher = seen(model(of_teacher).double(), batch)
    student = seen(model(of_student, 2, hidden_size=20, num_attention_heads=2).double(), batch, 0)
    found = minilm2(teacher, student, 5, batch["attention_mask"].bool()[:, None, None])
    common = relations(teacher.heads, student.heads)
    for example, length in ((0, 11), (1, 7)):
        expected = sum(by_formula(teacher, student, name, 5, example, length) for name in common)
        assert_close(found[example, :length], expected)


@pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)
def test_minilm_is_the_formula(of_teacher: str, of_student: str, model: Any, batch: dict[str, Tensor]) -> None:
    """The attention distribution is the one that the model itself shows."""
    pair = [model(of_teacher).double().eval(), model(of_student, 2, hidden_size=42).double().eval()]
    weights = [one(**batch, output_attentions=True).attentions[-1] for one in pair]
    teacher, student = (seen(one, batch) for one in pair)
    found = minilm(teacher, student, batch["attention_mask"].bool()[:, None, None])
    for example, length in ((0, 11), (1, 7)):
        values = by_formula(teacher, student, "value", 3, example, length)
        for i in range(length):
            rows = zip(*(w[example, :, i, :length] for w in weights), strict=True)
            attention = sum(kl(p, q) for p, q in rows) / 3
            assert_close(found[example, i], attention + values[i])


@pytest.mark.parametrize("attention", names())
def test_an_identical_student_has_nothing_to_learn(attention: str, model: Any, batch: dict[str, Tensor]) -> None:
    one = model(attention)
    teacher, student = (seen(each, batch) for each in (one, deepcopy(one)))
    zero = torch.zeros(2, 11)
    assert_close(minilm(teacher, student, None), zero, rtol=0, atol=1e-6)
    assert_close(minilm2(teacher, student, 6, None), zero, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("attention", "options", "expected"),
    [
        ("dot_product", {}, ["value", "query", "key"]),
        ("shared", {}, ["value", "query", "key"]),
        ("random+dot_product", {}, ["value", "query", "key"]),
        ("symmetric", {}, ["value", "query"]),
        ("pairwise", {}, ["value", "query"]),
        ("phased", {}, ["value", "query"]),
        ("dot_product", {"projection": "shared_key_value"}, ["value", "query"]),
        ("dot_product", {"projection": "shared_query_value"}, ["value", "key"]),
        ("random", {}, ["value"]),
        ("factorized_dense", {}, ["value"]),
    ],
)
def test_a_student_has_each_relation_once(
    attention: str, options: dict[str, str], expected: list[str], model: Any, batch: dict[str, Tensor]
) -> None:
    student = seen(model(attention, attention_options=options), batch).heads
    assert relations(seen(model(), batch).heads, student) == expected
    assert relations(seen(model("dense"), batch).heads, student) == ["value"]


@pytest.mark.parametrize("attention", ["symmetric", "pairwise"])
def test_where_queries_are_keys_their_relations_coincide(attention: str, model: Any, batch: dict[str, Tensor]) -> None:
    heads = seen(model(attention), batch).heads
    assert_close(relation_scores(heads.query, 5), relation_scores(heads.key, 5), rtol=0, atol=0)


@pytest.mark.parametrize("attention", ["dot_product", "shared", "random"])
def test_what_pads_a_text_and_how_far_has_no_say(
    attention: str, model: Callable[..., LeanformerForMaskedLM], batch: dict[str, Tensor]
) -> None:
    pair = [model("dot_product").eval(), model(attention, 2).eval()]
    longer = {name: torch.nn.functional.pad(tensor, (0, 2), value=0) for name, tensor in batch.items()}
    longer["input_ids"][1, 7:] = 5
    for loss in (minilm, lambda *seen: minilm2(*seen[:2], 6, seen[2])):
        short, long = (
            loss(*(seen(one, padded) for one in pair), padded["attention_mask"].bool()[:, None, None])
            for padded in (batch, longer)
        )
        assert_close(long[0, :11], short[0])
        assert_close(long[1, :7], short[1, :7])


def test_768_teaches_384(model: Any, batch: dict[str, Tensor]) -> None:
    small = {"num_hidden_layers": 1, "std": 0.02}
    teacher = seen(model(hidden_size=768, num_attention_heads=12, **small), batch)
    student = seen(model(hidden_size=384, num_attention_heads=6, **small), batch)
    assert minilm2(teacher, student, 48, None).shape == (2, 11)
    student = seen(model(hidden_size=384, num_attention_heads=12, **small), batch)
    assert minilm(teacher, student, None).shape == (2, 11)


def test_a_kept_table_is_watched_all_the_same(model: Any, batch: dict[str, Tensor]) -> None:
    """Evaluated, `random` attention is computed once; it is the second batch that would not compare."""
    teacher = model("random").eval()
    with torch.no_grad():
        first, second = (seen(teacher, batch) for _ in range(2))
        assert_close(first.scores(), second.scores(), rtol=0, atol=0)
    layer = attention_layers(teacher)[-1]
    assert not layer._forward_pre_hooks and not layer.projection._forward_hooks

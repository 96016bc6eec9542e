"""Losses between sentence vectors, against their formulas written as loops, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from leanformer.distillation.vectors.losses import LOSSES

TEMPERATURE = 0.3


def vectors(seed: int, texts: int = 5, width: int = 7) -> Tensor:
    return torch.randn(texts, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def c(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def ranking(s: Tensor, t: Tensor) -> float:
    total = 0.0
    for i in range(len(s)):
        others = [j for j in range(len(s)) if j != i]
        p, q = ([math.exp(c(x[i], x[j]) / TEMPERATURE) for j in others] for x in (t, s))
        total += sum(a / sum(p) * math.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    return total / len(s)


def similarity(s: Tensor, t: Tensor) -> float:
    pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if i != j]
    return sum((c(s[i], s[j]) - c(t[i], t[j])) ** 2 for i, j in pairs) / len(pairs)


EXPECTED: dict[str, Callable[[Tensor, Tensor], float]] = {
    "cosine": lambda s, t: sum(1 - c(a, b) for a, b in zip(s, t, strict=True)) / len(s),
    "mse": lambda s, t: sum(float((a - b) @ (a - b)) / len(a) for a, b in zip(s, t, strict=True)) / len(s),
    "similarity": similarity,
    "ranking": ranking,
}


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_formula(name: str) -> None:
    student, teacher = vectors(1), vectors(2)
    assert_close(float(LOSSES[name](student, teacher, TEMPERATURE)), EXPECTED[name](student, teacher))


@pytest.mark.parametrize("name", LOSSES)
def test_its_gradient_is_that_of_differences(name: str) -> None:
    student, teacher = vectors(1).requires_grad_(), vectors(2)
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, teacher, TEMPERATURE), student)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_vectors_cost_nothing(name: str) -> None:
    assert_close(float(LOSSES[name](vectors(1), vectors(1), TEMPERATURE)), 0.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["similarity", "ranking"])
def test_similarities_alone_may_differ_in_width_and_rotation(name: str) -> None:
    student, rotation = vectors(1), torch.linalg.qr(vectors(3, 7, 7))[0]
    assert_close(float(LOSSES[name](student @ rotation, student, TEMPERATURE)), 0.0, rtol=0, atol=1e-12)
    narrow = vectors(4, width=3)
    assert_close(float(LOSSES[name](narrow, student, TEMPERATURE)), EXPECTED[name](narrow, student))


@pytest.mark.parametrize("name", ["similarity", "ranking"])
def test_a_text_without_others_costs_nothing(name: str) -> None:
    student = vectors(1, texts=1).requires_grad_()
    loss = LOSSES[name](student, vectors(2, texts=1), TEMPERATURE)
    loss.backward()
    assert float(loss.detach()) == 0.0 and student.grad is not None and not student.grad.any()

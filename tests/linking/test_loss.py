"""The multi-similarity loss against a case by hand, and against its formula in float64, pair by pair."""

import math

import numpy as np
import pytest
import torch

from leanformer.linking.loss import mined, multi_similarity_loss


def formula(vectors: torch.Tensor, labels: list[int], epsilon: float) -> list[torch.Tensor]:
    """A loop over anchors, in the dtype of the vectors."""
    alpha, beta, base = 2.0, 50.0, 0.5
    losses, size = [], len(labels)
    for i in range(size):
        positives = [vectors[i] @ vectors[j] for j in range(size) if j != i and labels[j] == labels[i]]
        negatives = [vectors[i] @ vectors[j] for j in range(size) if labels[j] != labels[i]]
        hard_p = [s for s in positives if negatives and s < max(n.item() for n in negatives) + epsilon]
        hard_n = [s for s in negatives if positives and s > min(p.item() for p in positives) - epsilon]
        zero = vectors.new_zeros(())
        together = torch.log(1 + sum((torch.exp(-alpha * (s - base)) for s in hard_p), zero)) / alpha
        losses.append(together + torch.log(1 + sum((torch.exp(beta * (s - base)) for s in hard_n), zero)) / beta)
    return losses


def unit(size: int, width: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    vectors = torch.from_numpy(np.random.default_rng(seed).standard_normal((size, width)))
    return torch.nn.functional.normalize(vectors, dim=1).to(dtype).requires_grad_()


def test_four_examples_by_hand():
    """Two of each kind on the unit circle at 0, 60, 90 and 180 degrees: cosines 1/2, 0, -1; sqrt(3)/2, -1/2; 0."""
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0], dtype=torch.float64).deg2rad()
    vectors, labels = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([0, 0, 1, 1])
    near = math.sqrt(3) / 2
    # 0: positive 1/2 is not below the hardest negative 0 + 0.2, no negative is above 1/2 - 0.2: nothing counts.
    # 1: positive 1/2 < near + 0.2; negative near > 0.3, -1/2 is not.
    # 2: positive 0 < near + 0.2; negatives 0 and near are both > 0 - 0.2.
    # 3: positive 0 is not below -1/2 + 0.2; no negative of -1, -1/2 is above -0.2.
    first = math.log(1 + math.exp(-2 * 0)) / 2 + math.log(1 + math.exp(50 * (near - 0.5))) / 50
    second = math.log(1 + math.exp(1)) / 2 + math.log(1 + math.exp(50 * (near - 0.5)) + math.exp(-25)) / 50
    expected = torch.tensor([0.0, first, second, 0.0], dtype=torch.float64)
    torch.testing.assert_close(multi_similarity_loss(vectors, labels), expected)


@pytest.mark.parametrize("epsilon", [0.2, 0.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_the_formula_and_so_is_its_gradient(epsilon, dtype):
    labels = [0, 1, 2, 0, 1, 2, 0, 3, 1, 0, 4]  # 3 and 4 stand alone
    vectors, exact = unit(11, 5, 7, dtype), unit(11, 5, 7, torch.float64)
    loss = multi_similarity_loss(vectors, torch.tensor(labels), epsilon=epsilon)
    wanted = torch.stack(formula(exact, labels, epsilon=epsilon))
    torch.testing.assert_close(loss, wanted.to(dtype))
    loss.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(vectors.grad, exact.grad.to(dtype))


def test_nothing_to_compare_with_costs_nothing():
    vectors = unit(3, 5, 8, torch.float64)
    for labels in ([0, 0, 0], [0, 1, 2]):
        loss = multi_similarity_loss(vectors, torch.tensor(labels))
        torch.testing.assert_close(loss, torch.zeros(3, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(loss.sum(), vectors)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_large_exponents_do_not_overflow():
    vectors = torch.eye(2)[[0, 1, 0, 1]].requires_grad_()
    loss = multi_similarity_loss(vectors, torch.tensor([0, 0, 1, 1]), beta=1e4)
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_mining_keeps_the_hard_pairs():
    cosine = torch.tensor([[1.0, 0.9, 0.3, 0.75], [0.9, 1.0, 0.0, 0.0], [0.3, 0.0, 1.0, 0.0], [0.75, 0.0, 0.0, 1.0]])
    positive, negative = mined(cosine, torch.tensor([0, 0, 0, 1]), epsilon=0.2)
    assert positive[0].tolist() == [False, True, True, False]  # both are below 0.75 + 0.2
    assert negative[0].tolist() == [False, False, False, True]
    assert not positive[1, 0]  # 0.9 is above 0 + 0.2

"""The seam: Logits is closed under sums and scaling."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import Logits

B, H, L, M, K = 2, 3, 5, 7, 11


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logits(seed=0, bias=False):
    return Logits(
        draw(B, H, L, K, seed=seed), draw(B, H, M, K, seed=seed + 1), draw(B, H, L, M, seed=seed + 2) if bias else None
    )


@pytest.mark.parametrize("bias", [(False, False), (True, False), (True, True)])
def test_a_mixture_is_a_weighted_sum(bias):
    one, two = logits(0, bias[0]), logits(5, bias[1])
    mixed = one.scale(0.3).plus(two.scale(-0.7))
    assert_close(mixed.dense(), 0.3 * one.dense() - 0.7 * two.dense())


def test_a_bias_alone_is_a_score():
    only = Logits(bias=draw(H, L, M))
    assert_close(only.plus(logits()).dense(), only.bias + logits().dense())


def test_empty_logits_are_refused():
    with pytest.raises(ValueError, match="neither"):
        Logits().dense()

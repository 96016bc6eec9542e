"""The seam: Logits is closed under sums and scaling, attend is the only softmax, mask and dropout."""

from math import exp

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention.logits import Logits, attend, attention_weights, fused_pays

B, H, L, M, K = 2, 3, 5, 7, 11


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logits(seed=0, bias=False):
    return Logits(
        draw(B, H, L, K, seed=seed), draw(B, H, M, K, seed=seed + 1), draw(B, H, L, M, seed=seed + 2) if bias else None
    )


def test_two_tokens_by_hand():
    """Logits 0 and 1 weigh 1 : e."""
    value = torch.tensor([[[[10.0], [20.0]]]])
    scores = Logits(query=torch.tensor([[[[1.0]]]]), key=torch.tensor([[[[0.0], [1.0]]]]))
    expected = torch.tensor([[[[(10 + 20 * exp(1)) / (1 + exp(1))]]]])
    for fused in (False, True):
        assert_close(attend(scores, value, fused=fused), expected)


@pytest.mark.parametrize("bias", [(False, False), (True, False), (True, True)])
def test_a_mixture_is_a_weighted_sum(bias):
    one, two = logits(0, bias[0]), logits(5, bias[1])
    mixed = one.scale(0.3).plus(two.scale(-0.7))
    assert_close(mixed.dense(), 0.3 * one.dense() - 0.7 * two.dense())


def test_a_bias_alone_is_a_score():
    only = Logits(bias=draw(H, L, M))
    assert_close(only.plus(logits()).dense(), only.bias + logits().dense())
    assert_close(attend(only, draw(B, H, M, K)), only.bias.softmax(-1) @ draw(B, H, M, K))


def test_empty_logits_are_refused():
    with pytest.raises(ValueError, match="neither"):
        Logits().dense()


@pytest.mark.parametrize("bias", [False, True])
def test_masked_rows_agree_on_both_paths(bias):
    mask = torch.rand(B, 1, L, M, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[1, :, 2] = False
    value = draw(B, H, M, K)
    fused, plain = (attend(logits(bias=bias), value, mask, fused=f) for f in (True, False))
    assert_close(fused, plain)
    assert_close(fused[1, :, 2], torch.zeros(H, K, dtype=torch.float64))


def test_dropout_drops_and_rescales_weights():
    scores = Logits(bias=torch.zeros(1, 1, 400, 500))
    torch.manual_seed(0)
    weights = attention_weights(scores, dropout=0.25) * 500
    kept = weights > 0
    assert_close(weights[kept], torch.full_like(weights[kept], 1 / 0.75))
    assert abs(kept.double().mean().item() - 0.75) < 0.005
    context = attend(scores, torch.ones(1, 1, 500, 2), dropout=0.25)
    assert context.std() > 0, "dropout has no effect on the context"


def test_cpu_takes_the_plain_path_where_its_kernel_refuses_or_is_slower():
    value = draw(B, H, M, K)
    assert fused_pays(logits(), value)
    assert fused_pays(logits(bias=True), value)
    assert not fused_pays(logits(), value, dropout=0.1)
    assert not fused_pays(logits(), value[..., :-1])
    assert not fused_pays(Logits(bias=draw(L, M)), value)
    half = Logits(*(part.bfloat16() for part in logits()[:2]))
    assert not fused_pays(half, value.bfloat16()), "slower in bf16"
    assert fused_pays(half._replace(key=half.key.repeat(1, 1, 2**18, 1)), value.bfloat16()), "saves memory when long"
    learned = logits()._replace(bias=draw(L, M).requires_grad_())
    assert not fused_pays(learned, value)

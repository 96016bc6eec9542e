"""Dropout on the CPU is dropout: rate, scale, gradient, independence of neighbours, repeatable from a seed."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rate_and_scale_are_right(p, dtype):
    torch.manual_seed(1)
    x = torch.ones(701, 1009, dtype=dtype)
    y = dropout(x, p)
    kept = y != 0
    assert y.dtype == dtype
    assert abs(kept.double().mean().item() - (1 - p)) < 4 * (p * (1 - p) / x.numel()) ** 0.5
    assert_close(y[kept].double(), torch.full((int(kept.sum()),), 1 / (1 - p)).double(), rtol=5e-3, atol=0)


def test_neighbours_are_independent():
    torch.manual_seed(2)
    kept = dropout(torch.ones(4_000_000), 0.3).ne(0).double() - 0.7
    for lag in (1, 2, 3, 4, 5):
        correlation = (kept[lag:] * kept[:-lag]).mean().item() / 0.21
        assert abs(correlation) < 4 / kept.numel() ** 0.5, f"elements {lag} apart are correlated"


def test_gradient_is_the_mask():
    torch.manual_seed(3)
    x = torch.randn(7, 11, 13, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.25)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert_close(gradient * x.detach(), y.detach())


def test_a_seed_repeats_it_and_it_follows_the_mode():
    module = Dropout(0.5).train()
    x = torch.randn(5, 7)
    torch.manual_seed(4)
    first = module(x)
    torch.manual_seed(4)
    assert_close(module(x), first, rtol=0, atol=0)
    assert_close(module.eval()(x), x, rtol=0, atol=0)
    assert_close(dropout(x[:, ::2], 0.0), x[:, ::2])


def test_strided_and_tiny_inputs_work():
    for x in (torch.randn(3, 5).T, torch.randn(1), torch.randn(0, 4), torch.randn(4, 1).expand(4, 3)):
        assert dropout(x, 0.5).shape == x.shape

"""Rotary positions against complex numbers: a pair is a number, a turn a product with e^(i angle)."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention.positions import Positions, Rotary, apply_rotary


def complex_turned(x, positions, base):
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=torch.float64) / half)
    turn = torch.polar(torch.ones(1, dtype=torch.float64), positions[:, None, :, None] * frequency)
    y = torch.complex(x[..., :half].contiguous(), x[..., half:].contiguous()) * turn
    return torch.cat((y.real, y.imag), dim=-1)


@pytest.mark.parametrize("strided", [False, True])
def test_values_and_gradients_are_those_of_complex_numbers(strided):
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(1)
        shape = (2, 7, 3, 10) if strided else (2, 3, 7, 10)
        x, weights = torch.randn(2, *shape)
        x, weights = (t.transpose(1, 2) if strided else t for t in (x, weights))
        x = x.requires_grad_()
        places = torch.stack((torch.arange(7), torch.arange(7).flip(0)))
        positions = Positions.of(places, rotary=Rotary(10, base=100.0))
        query, key = positions.rotate(x, x)
        assert query is key
        expected = complex_turned(x, places, 100.0)
        assert_close(query, expected)
        (gradient,) = torch.autograd.grad((query.square() * weights).sum(), x)
        (other,) = torch.autograd.grad((expected.square() * weights).sum(), x)
        assert_close(gradient, other)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_turn_is_twice_differentiable():
    positions = Positions.of(torch.arange(2)[None], rotary=Rotary(4))
    x = torch.randn(1, 1, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: positions.rotate(x, x)[0].square(), (x,))


def test_angles_learn_as_complex_numbers_do():
    torch.manual_seed(3)
    x = torch.randn(2, 3, 5, 14, dtype=torch.float64)
    factors = torch.randn(2, 3, 1, 7, dtype=torch.float64, requires_grad=True)
    y = apply_rotary(x, *factors)
    expected = torch.complex(x[..., :7].contiguous(), x[..., 7:].contiguous()) * torch.complex(*factors)
    expected = torch.cat((expected.real, expected.imag), dim=-1)
    assert_close(y, expected)
    (gradient,) = torch.autograd.grad(y.pow(3).sum(), factors)
    (other,) = torch.autograd.grad(expected.pow(3).sum(), factors)
    assert_close(gradient, other)


def test_the_dot_product_knows_the_distance_alone():
    torch.manual_seed(2)
    x, y = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    scores = []
    for shift in (0, 5, 11):
        positions = Positions.of(torch.tensor([[shift + 3]]), torch.tensor([[shift]]), Rotary(8))
        query, key = positions.rotate(x, y)
        scores.append((query * key).sum())
    assert_close(scores[0], scores[1], rtol=1e-6, atol=1e-6)
    assert_close(scores[0], scores[2], rtol=1e-6, atol=1e-6)

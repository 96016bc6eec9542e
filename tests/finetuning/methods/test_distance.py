"""Bounds hold after every step, and a bound that is never met changes nothing."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer.finetuning.methods.distance import SLACK, DistanceConstraint
from leanformer.finetuning.objective import TaskObjective
from leanformer.training.run.callback import Callback

Make = Callable[..., Any]
HEAD = ("classifier.",)


class Watch(Callback):
    """The lengths of all matrices' ways after every step."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.lengths = model, list[list[float]]()
        self.start = [parameter.detach().clone() for parameter in model.parameters()]

    def after_step(self, step: int) -> None:
        ways = zip(self.model.parameters(), self.start, strict=True)
        self.lengths.append([float((now - then).detach().double().norm()) for now, then in ways])


@pytest.fixture
def data(rows: Make) -> tuple[torch.Tensor, Any]:
    return torch.randn(53, 13, generator=torch.Generator().manual_seed(2)), rows(torch.arange(53) % 3)


def test_bounds_hold_after_every_step_and_grow_with_depth(data: Any, perceptron: Make, train: Make) -> None:
    x, encoded = data
    model = perceptron(x, 3)
    with torch.no_grad():
        model.classifier.weight.mul_(3)
    bounds = DistanceConstraint(model, HEAD, distance=0.05, growth=1.7, head_distance=0.8)
    watch, start = Watch(model), model.classifier.bias.detach().clone()
    train(model, TaskObjective(encoded, 11, 4.0, 1), [bounds, watch], learning_rate=1e-2)
    first, second = (max(row[i] for row in watch.lengths) for i in (0, 2))
    assert 0.05 * (1 - 1e-4) < first <= 0.05 * (1 + 1e-5)
    assert 0.05 * 1.7 * (1 - 1e-4) < second <= 0.05 * 1.7 * (1 + 1e-5)
    assert model.classifier.weight.norm() <= 0.8 * (1 + 1e-5)
    assert (model.classifier.bias != start).all()  # vectors are free


def test_a_projection_keeps_the_direction_and_is_not_repeated() -> None:
    model = nn.Linear(5, 3)
    start = model.weight.detach().clone()
    bounds = DistanceConstraint(model, HEAD, 0.3, 1.0, None)
    way = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.weight.add_(way)
    bounds.after_step(0)
    assert_close(model.weight.detach(), start + 0.3 * way / way.norm())
    once = model.weight.detach().clone()
    bounds.after_step(1)
    assert_close(model.weight.detach(), once, rtol=0, atol=0)
    assert (once - start).norm() <= 0.3 * (1 + SLACK)


def test_infinite_bounds_are_plain_training_bit_for_bit(data: Any, perceptron: Make, train: Make) -> None:
    x, encoded = data
    plain = train(perceptron(x, 3), TaskObjective(encoded, 11, 3.0, 1))
    model = perceptron(x, 3)
    train(model, TaskObjective(encoded, 11, 3.0, 1), [DistanceConstraint(model, HEAD, math.inf, 1.0, math.inf)])
    assert_close(list(model.parameters()), list(plain.parameters()), rtol=0, atol=0)


def test_each_part_has_its_switch() -> None:
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(3, 3)]), "classifier": nn.Linear(3, 2)})
    both = DistanceConstraint(model, HEAD, 1.0, 1.0, 2.0).bounds
    assert {bound for _, bound in both.values()} == {1.0, 2.0}
    assert list(DistanceConstraint(model, HEAD, None, 1.0, 2.0).bounds) == [model["classifier"].weight]
    assert list(DistanceConstraint(model, HEAD, 1.0, 1.0, None).bounds) == [model["layers"][0].weight]

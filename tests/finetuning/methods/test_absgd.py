"""Weights of examples by their losses: the formula, its limits, and what a convex problem comes to under it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from leanformer.finetuning.methods.absgd import Absgd


@pytest.mark.parametrize("temperature", [0.7, -1.3])
def test_the_weights_are_those_of_the_formula(temperature: float) -> None:
    absgd, s = Absgd(temperature, rate=0.3), None
    for step in range(5):
        losses = torch.rand(7, generator=torch.Generator().manual_seed(step)) * 5
        powers = [math.exp(loss / temperature) for loss in losses.tolist()]
        mean = sum(powers) / 7
        s = mean if s is None else 0.7 * s + 0.3 * mean
        assert_close(absgd.weights(losses, epoch=0.0), torch.tensor([p / s for p in powers]), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("temperature", [1e6, -1e6])
def test_at_a_great_temperature_the_gradient_is_that_of_the_mean(temperature: float) -> None:
    torch.manual_seed(0)
    model, x, labels = nn.Linear(5, 3), torch.randn(11, 5), torch.arange(11) % 3
    absgd = Absgd(temperature, rate=0.9)
    for _ in range(50):
        absgd.weights(torch.rand(11) * 9, 0.0)
    losses = F.cross_entropy(model(x), labels, reduction="none")
    loss = (losses * absgd.weights(losses.detach(), 0.0)).mean()
    weighed = torch.autograd.grad(loss, model.weight, retain_graph=True)
    assert_close(weighed, torch.autograd.grad(losses.mean(), model.weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, -0.5])
def test_huge_losses_do_not_overflow(temperature: float) -> None:
    absgd = Absgd(temperature, rate=0.4)
    for losses in ([1e4, 2.0, 0.0], [1e30, 1e-30, 3e4], [0.0, 0.0, 0.0], [3e4, 3e4, 3e4]):
        weights = absgd.weights(torch.tensor(losses), 0.0)
        assert weights.isfinite().all() and absgd.log_normaliser.isfinite()
        assert (weights <= 3 / 0.4 * (1 + 1e-5)).all()


def test_a_rate_of_one_forgets_the_batches_before() -> None:
    absgd, losses = Absgd(0.5), torch.tensor([0.1, 0.9, 2.0])
    absgd.weights(torch.tensor([100.0, 3.0]), 0.0)
    assert_close(absgd.weights(losses, 0.0), 3 * (losses / 0.5).softmax(0))


def test_warm_up_is_the_mean_and_leaves_no_trace() -> None:
    absgd = Absgd(0.5, 0.9, warmup_epochs=2.0)
    assert_close(absgd.weights(torch.tensor([5.0, 1.0]), 1.99), torch.ones(2), rtol=0, atol=0)
    assert absgd.log_normaliser == -math.inf
    losses = torch.tensor([0.5, 0.25])
    assert_close(absgd.weights(losses, 2.0), 2 * (losses / 0.5).softmax(0))


def test_its_state_is_what_it_goes_on_from() -> None:
    one, other = Absgd(2.0, 0.3), Absgd(2.0, 0.3)
    one.weights(torch.tensor([1.0, 4.0]), 0.0)
    other.resume(one.state())
    losses = torch.tensor([3.0, 0.1])
    assert_close(one.weights(losses, 0.0), other.weights(losses, 0.0), rtol=0, atol=0)
    with pytest.raises(KeyError):
        other.resume({})


def robust_loss(model: nn.Module, x: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """lambda log( (1/n) sum_i exp(l_i / lambda) )"""
    losses = F.cross_entropy(model(x), labels, reduction="none") / temperature
    return temperature * (losses.logsumexp(0) - math.log(len(losses)))


@pytest.mark.parametrize("temperature", [5.0, 1.0, 0.3])
def test_it_descends_to_the_optimum_of_the_robust_loss(temperature: float) -> None:
    """A logistic regression, whose KL-regularised distributionally robust loss is convex, against L-BFGS."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(600, 5, generator=draw)
    labels = (x @ torch.randn(5, generator=draw) + 0.5 * torch.randn(600, generator=draw) > 0.3).long()

    best = nn.Linear(5, 2, dtype=torch.float64)
    solver = torch.optim.LBFGS(best.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = robust_loss(best, x.double(), labels, temperature)
        loss.backward()
        return loss

    solver.step(closure)
    optimum = robust_loss(best, x.double(), labels, temperature).item()

    model, absgd, steps = nn.Linear(5, 2), Absgd(temperature, rate=0.5), 1500
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / steps)
        rows = torch.randint(600, (100,), generator=draw)
        losses = F.cross_entropy(model(x[rows]), labels[rows], reduction="none")
        optimizer.zero_grad()
        (losses * absgd.weights(losses.detach(), 0.0)).mean().backward()
        optimizer.step()
    found = robust_loss(model, x, labels, temperature).item()
    assert optimum - 1e-6 <= found <= 1.015 * optimum

"""How large each step's batch is: every example once and in order, and the budget met."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from leanformer.data.corpus import Corpus
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.optimizers.batch_ramp import Batches, batches
from leanformer.training.optimizers.schedule import Budget, learning_rate, validation_due

LENGTH = 13


def plan(**training: Any) -> Batches:
    return batches(TrainingSettings.of({"sequence_length": LENGTH, "batch_size": 20, **training}))


def by_hand(examples: int, first: int, last: int, unit: int, ramp: float) -> list[int]:
    """The sizes of all steps, by the formula, one after the other."""
    sizes: list[int] = []
    while sum(sizes) < examples:
        stages = (last - first) // unit
        sizes.append(first + unit * min(stages, int(stages * sum(sizes) / (ramp * examples))))
    return sizes


@pytest.mark.parametrize(("first", "unit"), [(4, 4), (5, 5), (10, 10), (6, 2), (3, 1), (16, 4)])
@pytest.mark.parametrize("ramp", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("examples", [1, 19, 97, 1009])
def test_a_ramp_is_its_formula(first: int, unit: int, ramp: float, examples: int) -> None:
    made = plan(max_tokens=examples * LENGTH, first_batch_size=first, batch_ramp=ramp)
    sizes = by_hand(examples, first, 20, unit, ramp)
    assert made.steps == len(sizes)
    assert [made.size(step) for step in range(len(sizes))] == sizes
    assert [made.examples(steps) for steps in range(len(sizes) + 1)] == [0, *np.cumsum(sizes).tolist()]
    assert made.full(made.steps) == sum(sizes) / 20


@pytest.mark.parametrize("first", [4, 5, 6, 19])
@pytest.mark.parametrize("ramp", [0.03, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 37, 1000])
def test_a_budget_of_steps_is_met_exactly(first: int, ramp: float, steps: int) -> None:
    made = plan(max_steps=steps, first_batch_size=first, batch_ramp=ramp)
    sizes = [made.size(step) for step in range(steps)]
    assert made.steps == steps and sizes[0] == first
    assert sizes == sorted(sizes)
    assert [made.examples(step + 1) - made.examples(step) for step in range(steps)] == sizes
    if steps == 1000 and ramp < 1:
        grown = made.examples(sizes.index(20)) / made.examples(steps)
        assert grown == pytest.approx(ramp, abs=0.01)


@pytest.mark.parametrize("budget", [{"max_steps": 37}, {"max_tokens": 9001}, {"max_seconds": 5.0}])
@pytest.mark.parametrize("first", [None, 20])
def test_without_a_ramp_every_batch_is_as_large(budget: dict[str, float], first: int | None) -> None:
    if first and "max_seconds" in budget:
        return
    made = plan(first_batch_size=first, **budget)
    assert made.steps == {"max_steps": 37, "max_tokens": 35, "max_seconds": None}[next(iter(budget))]
    assert [(made.size(step), made.examples(step), made.full(step)) for step in (0, 1, 36)] == [
        (20, 20 * step, float(step)) for step in (0, 1, 36)
    ]


def test_a_million_steps_are_asked_for_at_once() -> None:
    made = batches(TrainingSettings(first_batch_size=32, batch_ramp=0.3))
    assert made.steps == 1_000_000 and made.size(999_999) == 256
    assert len(made.stages) == 8


@pytest.fixture
def objective(corpus: Path) -> Callable[..., MaskedLM]:
    def make(world: int = 1, **training: Any) -> MaskedLM:
        own = {"max_steps": 30, "batch_size": 20, "first_batch_size": 4, "sequence_length": LENGTH}
        return MaskedLM(Corpus.open(corpus), TrainingSettings.of(own | training), world)

    return make


def joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize(("world", "micro_batch_size"), [(1, 3), (2, None), (4, 1)])
def test_a_grown_batch_does_not_depend_on_its_cut(
    world: int, micro_batch_size: int | None, objective: Callable[..., MaskedLM]
) -> None:
    one, cut = objective(), objective(world, micro_batch_size=micro_batch_size)
    for step in (0, 7, 14, 29):
        ranks = [cut.micro_batches(step, rank, world) for rank in range(world)]
        assert len({len(parts) for parts in ranks}) == 1
        whole = joined(one.micro_batches(step, 0, 1))
        assert len(whole["labels"]) == one.batches.size(step)
        assert_close(joined([part for parts in ranks for part in parts]), whole, rtol=0, atol=0)


def test_a_ramp_reads_the_examples_that_full_batches_would(objective: Callable[..., MaskedLM]) -> None:
    grown, full = objective(), objective(first_batch_size=None)
    total = grown.batches.examples(30)
    mine = joined([part for step in range(30) for part in grown.micro_batches(step, 0, 1)])
    usual = joined([part for step in range(-(-total // 20)) for part in full.micro_batches(step, 0, 1)])
    assert total > 230, "more than an epoch"
    assert_close(mine, {name: tensor[:total] for name, tensor in usual.items()}, rtol=0, atol=0)
    assert grown.tokens(30) == total * LENGTH


def test_both_ends_must_divide_over_the_processes(objective: Callable[..., MaskedLM]) -> None:
    with pytest.raises(ValueError, match=r"^training.first_batch_size = 4: must be divisible by the 5 processes$"):
        objective(world=5)


def test_schedules_go_by_tokens(objective: Callable[..., MaskedLM]) -> None:
    """At the step after which half of the tokens are read, whichever that is, half of the way is gone."""
    one = objective(max_steps=300, mask_rate=0.6, final_mask_rate=0.1, schedule="warmup_stable_decay", batch_ramp=0.9)
    budget = Budget(one.total_steps, None, one.tokens)
    middle = next(step for step in range(300) if one.tokens(step) >= one.tokens(300) / 2)
    assert middle > 170
    assert budget.fraction(middle, 0) == pytest.approx(0.5, abs=0.005)
    assert one.count(middle) == round(0.35 * LENGTH) and one.count(299) == round(0.1 * LENGTH)
    rates = [learning_rate(one.settings, budget.fraction(step + 0.5, 0)) for step in range(300)]
    falling = next(step for step in range(100, 300) if rates[step] < max(rates))
    assert one.tokens(falling) / one.tokens(300) == pytest.approx(0.8, abs=0.01)
    assert rates[-1] > 0 and not budget.spent(299, 0) and budget.spent(300, 0)
    for step in (0, 17, 299):
        before, after = budget.fraction(step, 0), budget.fraction(step + 1, 0)
        assert budget.fraction(step + 0.5, 0) == pytest.approx((before + after) / 2)
    fractions = [budget.fraction(step, 0) for step in range(301)]
    due = [validation_due(one.settings, step + 1, *both) for step, both in enumerate(pairwise(fractions))]
    assert sum(due) == 20 and due[-1]


@pytest.mark.parametrize("steps", [7, 37, 999])
def test_without_a_ramp_schedules_go_by_steps_bit_for_bit(steps: int, objective: Callable[..., MaskedLM]) -> None:
    one = objective(max_steps=steps, first_batch_size=None, batch_size=22, mask_rate=0.31, final_mask_rate=0.17)
    budget = Budget(one.total_steps, None, one.tokens)
    for step in range(steps):
        assert budget.fraction(step + 0.5, 0) == (step + 0.5) / steps
        assert budget.fraction(step, 0) == step / steps
        assert one.count(step) == round((0.31 + (0.17 - 0.31) * step / steps) * LENGTH)

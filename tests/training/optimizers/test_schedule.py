import pytest

from leanformer.settings import TrainingSettings
from leanformer.training.optimizers.schedule import Budget, learning_rate, validation_due


def rates(steps: int, **training: object) -> list[float]:
    settings = TrainingSettings.of({"learning_rate": 2.0, **training})
    return [learning_rate(settings, (step + 0.5) / steps) for step in range(steps)]


def test_linear_rises_and_falls() -> None:
    assert rates(10, schedule="linear", warmup=0.2) == pytest.approx(
        [0.5, 1.5, 1.875, 1.625, 1.375, 1.125, 0.875, 0.625, 0.375, 0.125]
    )


def test_warmup_stable_decay() -> None:
    assert rates(10, schedule="warmup_stable_decay", warmup=0.1, decay=0.2) == pytest.approx(
        [1, 2, 2, 2, 2, 2, 2, 2, 1.5, 0.5]
    )


def test_constant_after_the_warmup() -> None:
    assert rates(4, schedule="constant", warmup=0.5) == pytest.approx([0.5, 1.5, 2, 2])


@pytest.mark.parametrize("schedule", ["linear", "warmup_stable_decay", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("decay", [0.0, 0.8, 1.0])
def test_no_update_is_wasted_and_none_is_too_large(schedule: str, warmup: float, decay: float) -> None:
    assert all(0 < rate <= 2 for rate in rates(97, schedule=schedule, warmup=warmup, decay=decay))


def test_a_budget_is_spent_exactly_at_its_end() -> None:
    steps, seconds = Budget(7), Budget(None, 2.5)
    assert not steps.spent(6, 1e9) and steps.spent(7, 0)
    assert not seconds.spent(10**9, 2.4) and seconds.spent(0, 2.5)


@pytest.mark.parametrize("total", [1, 7, 20, 37, 1000, 123_457])
def test_twenty_validations_in_a_run_the_last_at_its_end(total: int) -> None:
    budget, settings = Budget(total), TrainingSettings()
    due = [
        step
        for step in range(1, total + 1)
        if validation_due(settings, step, budget.fraction(step - 1, 0), budget.fraction(step, 0))
    ]
    assert len(due) == min(20, total) and due[-1] == total

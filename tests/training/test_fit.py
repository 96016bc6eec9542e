"""The loop itself, on a model of a few numbers."""

import itertools
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.testing import assert_close

from leanformer.settings import TrainingSettings
from leanformer.training.loop import Loop, fit
from leanformer.training.run.display import Display
from leanformer.training.run.interrupts import Interrupts
from leanformer.training.run.record import RunDirectory

Fit = Callable[..., dict[str, Any]]


class Regression:
    """Squared error on seven numbers a step, cut into uneven micro-batches; remembers the steps it was asked for."""

    def __init__(self, total_steps: int | None = 11, cut: tuple[int, ...] = (7,)) -> None:
        self.total_steps, self.cut, self.asked = total_steps, cut, list[int]()

    def tokens(self, steps: int) -> int:
        return 7 * steps

    def micro_batches(self, step: int, rank: int, world: int) -> list[dict[str, Tensor]]:
        self.asked.append(step)
        x = torch.randn(7, 3, generator=torch.Generator().manual_seed(step))
        return [{"x": part} for part in x.split(list(self.cut))]

    def num_targets(self, batch: dict[str, Tensor]) -> int:
        return len(batch["x"])

    def loss_sum(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return (model(batch["x"])[:, 0] - batch["x"].sum(1)).square().sum()

    def validation_batches(self, rank: int, world: int) -> Iterable[dict[str, Tensor]]:
        return [{"x": torch.eye(3)}, {"x": torch.ones(2, 3)}]


class Unvalidated(Regression):
    def validation_batches(self, rank: int, world: int) -> Iterable[dict[str, Tensor]]:
        return ()


class Broken(Regression):
    """From the step `at` on, the loss is infinite or, while it is still finite, the gradient is not a number."""

    at, loss_too = 8, True

    def loss_sum(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        loss = super().loss_sum(model, batch)
        if self.asked[-1] < self.at:
            return loss
        return loss * math.inf if self.loss_too else loss + (loss * 0).sqrt()


class Drawing(Unvalidated):
    """Remembers what a dropout would draw."""

    def loss_sum(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        self.draws = [*getattr(self, "draws", []), float(torch.rand(()))]
        return super().loss_sum(model, batch)


def new_model() -> nn.Linear:
    model = nn.Linear(3, 1)
    nn.init.constant_(model.weight, 0.1)
    nn.init.zeros_(model.bias)
    return model


@pytest.fixture
def train(tmp_path: Path) -> Fit:
    def run(model: nn.Module, objective: Regression, resume: bool = False, **training: Any) -> dict[str, Any]:
        directory = RunDirectory(tmp_path)
        if not resume:
            directory.write({"kind": "test", "status": "running"})
        settings = TrainingSettings.of(
            {"learning_rate": 0.03, "precision": "fp32", "log_every": 2, "checkpoint_every": 3} | training
        )
        return fit(model, objective, settings, directory, accelerator=Accelerator(), resume=resume, quiet=True)

    return run


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_it_learns_and_says_so(train: Fit, tmp_path: Path) -> None:
    results = train(new_model(), Regression(200), learning_rate=0.1)
    assert results["steps"] == 200 and results["tokens"] == 1400
    assert results["final_loss"] < 0.01 * results["validations"][0][1]
    assert results["best_loss"] <= results["final_loss"]
    assert [tokens for tokens, _ in results["validations"]] == list(range(70, 1401, 70))
    assert results["tokens_per_second"] > 1400 / results["seconds"]
    line = read(tmp_path)[-1]
    assert list(line) == ["step", "tokens", "seconds", "loss", "learning_rate", "gradient_norm", "validation_loss"]
    assert (line["step"], line["tokens"], line["validation_loss"]) == (200, 1400, results["final_loss"])


def test_a_logged_loss_is_the_mean_since_the_line_before(train: Fit, tmp_path: Path) -> None:
    train(new_model(), Unvalidated(7, cut=(2, 5)), learning_rate=1e-12, log_every=3, validate_every=7)
    model, objective = new_model().requires_grad_(False), Regression()
    losses = [float(objective.loss_sum(model, objective.micro_batches(step, 0, 1)[0]) / 7) for step in range(7)]
    expected = {3: losses[:3], 6: losses[3:6], 7: losses[6:]}
    assert {line["step"] for line in read(tmp_path)} == expected.keys()
    for line in read(tmp_path):
        assert line["loss"] == pytest.approx(sum(expected[line["step"]]) / len(expected[line["step"]]), rel=1e-6)


def test_the_cut_into_micro_batches_has_no_say(train: Fit) -> None:
    whole, cut = new_model(), new_model()
    train(whole, Regression(5))
    train(cut, Regression(5, cut=(1, 4, 2)))
    assert_close(list(cut.parameters()), list(whole.parameters()))


def test_a_step_is_adamw_on_the_mean_loss_with_a_clipped_gradient(train: Fit) -> None:
    model, reference = new_model(), new_model()
    train(model, Regression(1), schedule="constant", warmup=0, clip_norm=0.5, weight_decay=0.2)
    loss = Regression().loss_sum(reference, Regression().micro_batches(0, 0, 1)[0]) / 7
    loss.backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in reference.parameters()))
    assert norm > 0.5
    for parameter, decay in ((reference.weight, 0.2), (reference.bias, 0.0)):
        gradient = parameter.grad * 0.5 / norm  # the first step of Adam is the sign of the gradient, up to epsilon
        parameter.data -= 0.03 * (gradient / (gradient.abs() + 1e-6) + decay * parameter.data)
    assert_close(list(model.parameters()), list(reference.parameters()), rtol=1e-5, atol=1e-6)


def test_dropout_is_a_function_of_seed_step_and_rank(tmp_path: Path) -> None:
    def draws(seed: int, rank: int) -> list[float]:
        objective = Drawing(5, cut=(3, 4))
        settings = TrainingSettings(seed=seed, precision="fp32", checkpoint_every=0, validate_every=9, log_every=9)
        RunDirectory(tmp_path).write({"status": "running"})
        loop = Loop(new_model(), objective, settings, RunDirectory(tmp_path), Accelerator(), resume=False)
        loop.rank = rank
        with Interrupts() as interrupts, Display("", loop.budget, objective.tokens, loop.at, quiet=True) as display:
            loop.run(interrupts, display)
        return objective.draws

    first = draws(seed=1, rank=0)
    torch.manual_seed(99)
    assert draws(seed=1, rank=0) == first
    assert len({*first, *draws(seed=2, rank=0), *draws(seed=1, rank=1)}) == 3 * 5 * 2


def test_resuming_asks_for_no_step_twice(train: Fit) -> None:
    model, objective = new_model(), Broken(11)
    with pytest.raises(ArithmeticError):
        train(model, objective)
    resumed = Regression(11)
    train(new_model(), resumed, resume=True)
    assert resumed.asked == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("loss_too", [True, False])
def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoints(
    loss_too: bool, train: Fit, tmp_path: Path
) -> None:
    objective = Broken(20)
    objective.loss_too = loss_too
    with pytest.raises(ArithmeticError, match="at step (9|10): lower learning_rate") as caught:
        train(new_model(), objective, log_every=50, validate_every=50, clip_norm=None)
    assert sorted(p.name for p in (tmp_path / "checkpoint").iterdir()) == ["step-00000003", "step-00000006"]
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["status"], record["error"]) == ("failed", str(caught.value))


def test_a_line_with_a_loss_that_is_not_finite_is_never_written(train: Fit, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="^the loss is (inf|nan) at step 9: "):
        train(new_model(), Broken(20), log_every=1, validate_every=50, clip_norm=None)
    assert [line["step"] for line in read(tmp_path)] == list(range(1, 9))


def test_validation_is_without_dropout_and_training_with_it(train: Fit) -> None:
    class Dropping(nn.Linear):
        modes = list[bool]()

        def forward(self, x: Tensor) -> Tensor:
            self.modes.append(self.training)
            return super().forward(x)

    model = Dropping(3, 1)
    train(model, Regression(2), validate_every=1)
    assert model.modes == [True, False, False, True, False, False]


def test_without_validation_there_is_no_validation_loss(train: Fit, tmp_path: Path) -> None:
    results = train(new_model(), Unvalidated(5))
    assert results["final_loss"] is None and results["validations"] == []
    assert all("validation_loss" not in line for line in read(tmp_path))


def test_a_budget_of_seconds_ends_on_time_validated_at_its_end(
    train: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(start=100.0, step=0.05)  # every look at it takes a twentieth of a second
    monkeypatch.setattr("leanformer.training.loop.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    results = train(new_model(), Regression(None), max_seconds=10, log_every=5, warmup=0.2)
    assert 10 <= results["seconds"] < 10.5
    assert results["tokens_per_second"] > results["tokens"] / results["seconds"]
    lines = read(tmp_path)
    assert lines[-1]["step"] == results["steps"] > 50 and "validation_loss" in lines[-1]
    assert sum("validation_loss" in line for line in lines) == 20
    for line in lines:
        fraction = line["seconds"] / 10
        assert line["learning_rate"] == pytest.approx(0.03 * min(fraction / 0.2, (1 - fraction) / 0.8), abs=0.005)


def test_no_checkpoint_unless_asked_for(train: Fit, tmp_path: Path) -> None:
    train(new_model(), Regression(5), checkpoint_every=0)
    assert not (tmp_path / "checkpoint").exists()


def test_compiled_is_the_same_training(train: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, plain = new_model(), new_model()
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: torch._dynamo.optimize("eager")(model))
    train(compiled, Regression(3), compile=True)
    train(plain, Regression(3))
    assert_close(list(compiled.parameters()), list(plain.parameters()))

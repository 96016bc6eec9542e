"""Weights and labels in the real loop: the rules, an exact resume, two processes, and what wrong labels cost."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from leanformer.finetuning.methods.absgd import Absgd
from leanformer.finetuning.methods.self_labelling import Labels, Reweighting
from leanformer.finetuning.objective import TaskObjective, WeighedObjective

Make = Callable[..., Any]
WAYS = [(Absgd(-1.5, 0.6, 0.5), 1.0), (Reweighting(2.0, 0.5), 0.4), (None, 0.4)]


def clusters(count: int, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors (count, 13) around a centre for each label (count,)."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 13, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(count) % classes
    return centres[labels] + 1.1 * torch.randn(count, 13, generator=draw), labels


def noisy(labels: Tensor, share: float, classes: int = 5, seed: int = 0) -> Tensor:
    """So many of them are drawn anew."""
    draw = torch.Generator().manual_seed(seed)
    drawn = torch.randint(classes, labels.shape, generator=draw)
    return drawn.where(torch.rand(labels.shape, generator=draw) < share, labels)


# --- the rules


def test_reweighting_is_a_softmax_over_the_batch_from_its_epoch_on() -> None:
    losses = torch.tensor([0.1, 2.0, 0.7, 5.0])
    way = Reweighting(temperature=2.0, start=3.5)
    assert_close(way.weights(losses, 3.4), torch.ones(4), rtol=0, atol=0)
    assert_close(way.weights(losses, 3.5), 4 * (-losses / 2.0).softmax(0))
    assert_close(way.weights(losses, 5.1), 4 * (-losses / (2.0 * torch.tensor(-0.2).exp())).softmax(0))
    assert_close(way.weights(losses, 99.0), 4 * (-losses / 1.0).softmax(0))
    assert_close(Reweighting(1e9, 0.0).weights(losses, 0.0), torch.ones(4))
    probabilities = torch.tensor([0.9, 0.2, 0.5])
    powers = probabilities**0.5
    assert_close(way.weights(-probabilities.log(), 3.5), 3 * powers / powers.sum())


def test_a_label_is_replaced_for_good_where_the_model_is_sure_of_another() -> None:
    labels = Labels(torch.tensor([0, 1, 2, 0, 1]), threshold=0.9, start=1.0)
    rows = torch.tensor([4, 0, 2])
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])  # sure of 0; hardly of 1; sure of 2
    assert labels.corrected(rows, logits, epoch=0.9).tolist() == [1, 0, 2]
    assert labels.corrected(rows, logits, epoch=1.0).tolist() == [0, 0, 2]
    assert labels.corrected(rows, torch.zeros(3, 3), epoch=0.0).tolist() == [0, 0, 2]
    assert labels.replaced() == [{"row": 4, "given": 1, "label": 0}]
    assert labels.given.tolist() == [0, 1, 2, 0, 1]


def test_a_threshold_of_one_changes_no_label() -> None:
    labels = Labels(torch.tensor([0, 1]), threshold=1.0, start=0.0)
    labels.corrected(torch.tensor([0, 1]), torch.tensor([[0.0, 1e9], [1e9, 0.0]]), epoch=5.0)
    assert labels.replaced() == []


def test_labels_of_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match="labels of 3 rows, the data 2"):
        Labels(torch.zeros(2, dtype=torch.long), 0.9, 0.0).resume({"current": torch.zeros(3, dtype=torch.long)})


# --- in the loop


@pytest.mark.parametrize(
    "weighing", [None, Absgd(0.5, 0.9, warmup_epochs=9.0), Reweighting(2.0, 9.0)], ids=["none", "absgd", "reweighting"]
)
def test_what_has_not_begun_is_plain_training_bit_for_bit(
    weighing: Any, perceptron: Make, rows: Make, train: Make
) -> None:
    x, labels = clusters(53)
    data, of = rows(labels), (11, 3.0, 1)
    plain = train(perceptron(x, 5), TaskObjective(data, *of))
    mended = Labels(labels, 0.1, start=9.0)
    objective = WeighedObjective(data, *of, weighing, mended)
    other = train(perceptron(x, 5), objective, [objective, mended])
    assert_close(list(plain.parameters()), list(other.parameters()), rtol=0, atol=0)


def test_an_update_is_the_gradient_of_the_weighed_mean(perceptron: Make, rows: Make, train: Make) -> None:
    x, labels = clusters(11)
    objective = WeighedObjective(rows(labels), 11, 1.0, 1, Absgd(0.5))
    model, reference = perceptron(x, 5), perceptron(x, 5)
    train(model, objective, [objective], clip_norm=None, weight_decay=0.0, schedule="constant")
    losses = F.cross_entropy(reference(torch.arange(11)[:, None]).logits, labels, reduction="none")
    weights = (losses / 0.5).softmax(0).detach()
    gradients = torch.autograd.grad((weights * losses).sum(), list(reference.parameters()))
    for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
        parameter.data -= 3e-3 * gradient / (gradient.abs() + 1e-6)  # Adam's first step
    assert_close(list(model.parameters()), list(reference.parameters()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["absgd", "reweighting"])
def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(kind: str, perceptron: Make, rows: Make, train: Make) -> None:
    """Broken off after 17 of 30 steps, when labels have been replaced."""
    x, truth = clusters(101)
    labels = noisy(truth, 0.5)

    def parts() -> tuple[nn.Module, WeighedObjective, list[Any], Labels]:
        weighing = Absgd(-1.0, 0.6, 0.5) if kind == "absgd" else Reweighting(2.0, 0.5)
        mended = Labels(labels, 0.35, 0.4)
        objective = WeighedObjective(rows(labels), 17, 5.0, 1, weighing, mended)
        goes_along = [objective, mended, *([weighing] if kind == "absgd" else [])]
        return perceptron(x, 5), objective, goes_along, mended

    how: dict[str, Any] = {"learning_rate": 1e-2, "checkpoint_every": 17}
    model, objective, goes_along, whole = parts()
    train(model, objective, goes_along, **how)
    assert len(whole.replaced()) > 5

    cut, objective, goes_along, _ = parts()
    original = objective.loss_sum

    def stop(*given: Any) -> Tensor:
        if objective.epoch * 101 / 17 > 20:
            raise ArithmeticError("cut")
        return original(*given)

    objective.loss_sum = stop  # type: ignore[method-assign]
    with pytest.raises(ArithmeticError, match="cut"):
        train(cut, objective, goes_along, **how)
    resumed, objective, goes_along, mended = parts()
    train(resumed, objective, goes_along, resume=True, **how)
    assert_close(list(resumed.parameters()), list(model.parameters()), rtol=0, atol=0)
    assert mended.replaced() == whole.replaced()
    with pytest.raises(ValueError, match="does not fit this run"):
        train(perceptron(x, 5), objective, [Labels(labels[1:], 0.9, 0.0)], resume=True, **how)


CHILD = """
import json, runpy, sys
from pathlib import Path
import torch
from leanformer.finetuning.objective import WeighedObjective
from leanformer.finetuning.methods.absgd import Absgd
from leanformer.finetuning.methods.self_labelling import Labels, Reweighting
toy, out, found = runpy.run_path(sys.argv[1]), Path(sys.argv[2]), []
x, labels = torch.load(out / "data.pt")
for weighing in (Absgd(-1.5, 0.6, 0.5), Reweighting(2.0, 0.5)):
    mended = Labels(labels, 0.35, 0.4)
    objective = WeighedObjective(toy["as_rows"](labels), 17, 5.0, 1, weighing, mended)
    model = toy["run"](toy["Perceptron"](x, 5), objective, [objective, mended], out, learning_rate=1e-2)
    weights = [p.detach().flatten().tolist() for p in model.parameters()]
    found.append({"weights": weights, "replaced": mended.replaced()})
(out / f"rank-{sys.argv[3]}.json").write_text(json.dumps(found))
"""


def test_two_processes_learn_what_one_does(perceptron: Make, rows: Make, train: Make, tmp_path: Path) -> None:
    """A batch of 17, of which one has 9 examples and the other 8; their losses are weighed together."""
    x, truth = clusters(101)
    labels = noisy(truth, 0.5)
    torch.save((x, labels), tmp_path / "data.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent / "conftest.py"), str(tmp_path)]
    children = [
        subprocess.Popen([*command, rank], env=common | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    try:
        assert [child.wait() for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    both = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert both[0] == both[1]
    for found, weighing in zip(both[0], (Absgd(-1.5, 0.6, 0.5), Reweighting(2.0, 0.5)), strict=True):
        mended = Labels(labels, 0.35, 0.4)
        objective = WeighedObjective(rows(labels), 17, 5.0, 1, weighing, mended)
        model = train(perceptron(x, 5), objective, [objective, mended], learning_rate=1e-2)
        weights = [torch.tensor(each) for each in found["weights"]]
        assert_close(weights, [p.detach().flatten() for p in model.parameters()], rtol=1e-4, atol=1e-5)
        assert found["replaced"] == mended.replaced() != []


# --- what they are for


def accuracy(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        model.vectors = x
        return float((model(torch.arange(len(x))[:, None]).logits.argmax(1) == labels).float().mean())


def test_wrong_labels_do_less_harm(perceptron: Make, rows: Make, train: Make) -> None:
    """Three fifths of the labels drawn anew: each way gains on plain training, and more labels are right than before.
    Means over two seeds; a network that can learn the noise by heart."""
    gains: dict[str, list[float]] = {"absgd": [], "self-labelling": []}
    right = []
    for seed in range(2):
        x, truth = clusters(300, seed=seed)
        held_out, answers = clusters(1000, seed=100 + seed)
        labels = noisy(truth, 0.6, seed=seed)
        data, of = rows(labels), (30, 30.0, seed)
        plain = train(perceptron(x, 5, width=61), TaskObjective(data, *of))
        absgd = Absgd(-1.0, 0.9, warmup_epochs=3.0)
        first = WeighedObjective(data, *of, absgd)
        mended = Labels(labels, 0.9, start=5.0)
        second = WeighedObjective(data, *of, Reweighting(2.0, 2.0), mended)
        base = accuracy(plain, held_out, answers)
        for name, objective, more in (("absgd", first, [absgd]), ("self-labelling", second, [mended])):
            model = train(perceptron(x, 5, width=61), objective, [objective, *more])
            gains[name].append(100 * (accuracy(model, held_out, answers) - base))
        right.append(float((mended.current == truth).float().mean() - (labels == truth).float().mean()))
    assert sum(gains["absgd"]) / 2 >= 2
    assert sum(gains["self-labelling"]) / 2 >= 5
    assert sum(right) > 0

"""PST and magnitude pruning: the schedule, the counts, the frozen base, and a plain model at the end."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer.finetuning.methods.sparse import Pst, Sparsity, mask, sparsity_at
from leanformer.finetuning.objective import TaskObjective
from leanformer.settings import FinetuningSettings
from leanformer.settings.finetuning import SparseSettings

Make = Callable[..., Any]
HEAD = ("classifier.",)


def settings(method: str = "pst", **sparse: Any) -> FinetuningSettings:
    return FinetuningSettings(method=method, sparse=SparseSettings(**sparse))


@pytest.fixture
def data(rows: Make) -> tuple[torch.Tensor, Any]:
    return torch.randn(53, 13, generator=torch.Generator().manual_seed(2)), rows(torch.arange(53) % 3)


def test_the_schedule_is_cubic_between_a_tenth_and_seven_tenths() -> None:
    found = [sparsity_at(step, 100, 0.9) for step in (0, 10, 40, 70, 100)]
    assert found == pytest.approx([0.0, 0.0, 0.9 - 0.9 / 8, 0.9, 0.9])
    assert sparsity_at(0, 1, 0.9) == 0.0
    rising = [sparsity_at(step, 37, 0.8) for step in range(38)]
    assert rising == sorted(rising)


def test_a_mask_has_exactly_so_many_zeros_at_the_smallest() -> None:
    scores = torch.tensor([[3.0, -1.0, 0.5], [0.5, 0.5, 2.0]])
    assert mask(scores, 1).tolist() == [[1, 0, 1], [1, 1, 1]]
    assert int((mask(scores, 3) == 0).sum()) == 3  # of three equal ones, two
    assert mask(scores, 0).all()


def test_weights_and_gradients_are_those_of_the_formula() -> None:
    """In float64; straight through: what the mask would have learned, the scores learn."""
    torch.manual_seed(0)
    base = torch.randn(7, 5, dtype=torch.float64)
    how = settings(update_rank=2, score_rank=3, update_scale=0.7, score_scale=0.4, structure_scale=1.3)
    pst = Pst(base, how, number=0).double()
    for parameter in pst.parameters():
        nn.init.normal_(parameter)
    pst.zeros = 17
    factor = torch.randn(7, 5, dtype=torch.float64)
    (pst(base) * factor).sum().backward()

    weight = base + 0.7 * pst.u @ pst.v
    scores = weight.abs() + 0.4 * pst.a @ pst.b + 1.3 * (pst.r[:, None] + pst.c[None, :])
    smallest = scores.flatten().argsort()[:17]
    kept = torch.ones(35, dtype=torch.float64)
    kept[smallest] = 0
    kept = kept.view(7, 5)
    assert_close(pst(base).detach(), (weight * kept).detach())
    of_score = (factor * weight).detach()
    of_weight = factor * kept + of_score * weight.sign()
    expected = {
        "u": 0.7 * of_weight @ pst.v.T,
        "v": 0.7 * pst.u.T @ of_weight,
        "a": 0.4 * of_score @ pst.b.T,
        "b": 0.4 * pst.a.T @ of_score,
        "r": 1.3 * of_score.sum(1),
        "c": 1.3 * of_score.sum(0),
    }
    assert_close({name: parameter.grad for name, parameter in pst.named_parameters()}, expected, check_dtype=False)


@pytest.mark.parametrize(("head", "trained"), [(True, 3 * 31 + 3), (False, 0)])
def test_zeros_counts_and_the_frozen_base(head: bool, trained: int, data: Any, perceptron: Make, train: Make) -> None:
    x, encoded = data
    model = perceptron(x, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objective = TaskObjective(encoded, 11, 4.0, 1)
    sparsity = Sparsity(model, HEAD, settings(train_head=head, sparsity=0.83), objective.total_steps)
    tokens = torch.arange(53)[:, None]
    sparsity.before_step(0)
    untouched = perceptron(x, 3)
    assert_close(model(tokens).logits, untouched(tokens).logits, rtol=0, atol=0)
    learning = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    sizes = [(31, 13), (31, 31)]
    assert sum(learning.values()) == sum(17 * (o + i) for o, i in sizes) + trained
    assert len(learning) == 2 * 6 + 2 * head

    train(model, objective, [sparsity], learning_rate=1e-2)
    for i, layer in enumerate(model.layers):
        assert_close(layer.parametrizations.weight.original.detach(), before[f"layers.{i}.weight"], rtol=0, atol=0)
        assert_close(layer.bias.detach(), before[f"layers.{i}.bias"], rtol=0, atol=0)
    assert bool((model.classifier.weight == before["classifier.weight"]).all()) is not head
    masked = copy.deepcopy(model)(tokens).logits
    counts = sparsity.finish()
    assert_close(model(tokens).logits, masked, rtol=0, atol=0)
    assert type(model.layers[0]) is nn.Linear and model.state_dict().keys() == before.keys()
    zeros = [int((layer.weight == 0).sum()) for layer in model.layers]
    assert zeros == [int(0.83 * o * i) for o, i in sizes]
    weights, numbers = sum(o * i for o, i in sizes), sum(learning.values())
    assert counts == {"maps": 2, "weights": weights, "zeros": sum(zeros), "trainable": numbers, "head": trained}


def test_magnitude_trains_all_weights_and_keeps_the_largest(data: Any, perceptron: Make, train: Make) -> None:
    x, encoded = data
    model, objective = perceptron(x, 3), TaskObjective(encoded, 11, 4.0, 1)
    every = sum(parameter.numel() for parameter in model.parameters())
    sparsity = Sparsity(model, HEAD, settings("magnitude", sparsity=0.5), objective.total_steps)
    train(model, objective, [sparsity], learning_rate=1e-2)
    dense = [layer.parametrizations.weight.original.detach().clone() for layer in model.layers]
    counts = sparsity.finish()
    assert counts["trainable"] == every
    for layer, whole in zip(model.layers, dense, strict=True):
        smallest = whole.abs().flatten().sort().values[whole.numel() // 2 - 1]
        assert_close(layer.weight.detach(), whole.where(whole.abs() > smallest, 0.0), rtol=0, atol=0)


def test_without_sparsity_magnitude_is_dense_fine_tuning(data: Any, perceptron: Make, train: Make) -> None:
    x, encoded = data
    plain = train(perceptron(x, 3), TaskObjective(encoded, 11, 3.0, 1))
    model, objective = perceptron(x, 3), TaskObjective(encoded, 11, 3.0, 1)
    sparsity = Sparsity(model, HEAD, settings("magnitude", sparsity=0.0), objective.total_steps)
    train(model, objective, [sparsity])
    assert sparsity.finish()["zeros"] == 0
    assert_close(dict(model.named_parameters()), dict(plain.named_parameters()))


def test_values_depend_on_seed_and_map_alone() -> None:
    weight, of = torch.zeros(7, 5), settings()
    first = Pst(weight, of, 3).state_dict()
    torch.manual_seed(8)
    assert_close(Pst(weight, of, 3).state_dict(), first, rtol=0, atol=0)
    assert (Pst(weight, of, 4).u != first["u"]).all() and (Pst(weight, replace(of, seed=2), 3).u != first["u"]).all()
    small = Pst(weight, settings(score_rank=0, structure_scale=0.0), 3)
    assert [name for name, _ in small.named_parameters()] == ["u", "v"]


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no linear map in its layers"):
        Sparsity(nn.Linear(3, 2), HEAD, settings(), 5)


def mixture(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (count, 13) around one of 40 centres (count,)."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(40, 13, generator=torch.Generator().manual_seed(99))
    which = torch.randint(40, (count,), generator=draw)
    return centres[which] + 0.5 * torch.randn(count, 13, generator=draw), which


def test_zeros_that_grow_during_training_cost_less_than_pruning_behind_it(
    perceptron: Make, rows: Make, train: Make
) -> None:
    """A network that knows 20 classes, each of two centres, learns 10 of four others, with nine zeros in ten: PST
    against dense fine-tuning that is pruned by magnitude at its end."""
    x, which = mixture(1000, 1)
    held_out, answers = mixture(1000, 2)
    knows = train(perceptron(x, 20, width=61), TaskObjective(rows(which // 2), 50, 15.0, 1))
    scores = {}
    for name, how in (("pst", settings(score_rank=4, update_rank=4)), ("one shot", settings("magnitude"))):
        model, objective = perceptron(x, 10, width=61), TaskObjective(rows(which % 10), 50, 15.0, 1)
        model.layers.load_state_dict(knows.layers.state_dict())
        if name == "one shot":
            train(model, objective)
            Sparsity(model, HEAD, how, 1).finish()
        else:
            sparsity = Sparsity(model, HEAD, how, objective.total_steps)
            train(model, objective, [sparsity])
            sparsity.finish()
        with torch.no_grad():
            model.vectors = held_out
            right = model(torch.arange(1000)[:, None]).logits.argmax(1) == answers % 10
        scores[name] = 100 * float(right.float().mean())
    assert scores["pst"] >= scores["one shot"] + 5, scores

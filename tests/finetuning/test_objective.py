"""The objective that the training loop sees."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from leanformer.data.buckets import training_rows
from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import Encoded, encode, losses
from leanformer.finetuning.objective import TaskObjective


@pytest.fixture
def encoded(tokenizer_of: Callable) -> Encoded:
    """Example i is the word w_i, so a batch says which examples it holds; labels 0, 1, 2, 0, ..."""
    words = tokenizer_of(" ".join(f"w{i}" for i in range(23)))
    return encode(words, Examples([(f"w{i}",) for i in range(23)], np.arange(23) % 3), max_length=8)


class Constant(nn.Module):
    """Logits 0, 0, log 2 for everything: probabilities 1/4, 1/4, 1/2."""

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.tensor([1.0, 1.0, 2.0]).log().expand(len(input_ids), 3))


def members(batch: dict[str, torch.Tensor]) -> list[int]:
    return (batch["input_ids"][:, 1] - 5).tolist()


def test_the_budget_is_in_epochs(encoded: Encoded):
    assert TaskObjective(encoded, 5, 3.0, 1).total_steps == 14  # 69 examples, 5 a step
    assert TaskObjective(encoded, 5, 0.1, 1).total_steps == 1
    assert TaskObjective(encoded, 5, 1.0, 1).tokens_per_step == 15
    assert list(TaskObjective(encoded, 5, 1.0, 1).validation_batches(0, 1)) == []


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_the_batch(encoded: Encoded, world: int):
    task = TaskObjective(encoded, 5, 3.0, 1)
    for step in range(task.total_steps):
        batches = [batch for rank in range(world) for batch in task.micro_batches(step, rank, world)]
        rows = training_rows(encoded.lengths, 5, task.total_steps, 1, step)
        assert sorted(i for batch in batches for i in members(batch)) == sorted(rows.tolist())
        assert sum(task.num_targets(batch) for batch in batches) == 5
        assert all(batch["labels"].tolist() == [i % 3 for i in members(batch)] for batch in batches)


def test_more_processes_than_examples_are_refused(encoded: Encoded):
    with pytest.raises(ValueError, match=r"finetuning\.batch_size = 5: 6 processes"):
        TaskObjective(encoded, 5, 1.0, 1).micro_batches(0, 0, 6)


def test_the_loss_is_summed(encoded: Encoded):
    batch = encoded.batch(np.array([0, 1, 2, 5]))  # labels 0, 1, 2, 2: log 4 + log 4 + log 2 + log 2
    loss = TaskObjective(encoded, 4, 1.0, 1).loss_sum(Constant(), batch)
    torch.testing.assert_close(loss, torch.tensor(6.0) * np.log(2).astype(np.float32))


def test_the_loss_of_a_number_is_its_squared_error():
    squared = losses(torch.tensor([[1.5], [-2.0]]), torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(squared, torch.tensor([0.25, 9.0]))

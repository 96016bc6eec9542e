"""Classes that weigh alike: torch's weighted cross entropy is the oracle."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.finetuning.methods.weighing import class_weights
from leanformer.finetuning.objective import WeighedObjective


def test_every_class_weighs_alike_and_an_example_one_on_average() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 3, 3, 1])
    weights = class_weights(labels)
    assert_close(weights, torch.tensor([8 / 15, 8 / 3, 0.0, 8 / 6]))
    assert_close(weights[labels].mean(), torch.tensor(1.0))


def test_the_loss_is_torch_s_weighted_cross_entropy(
    perceptron: type[nn.Module], rows: Callable[[Tensor], Encoded]
) -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [2])
    encoded, model = rows(labels), perceptron(torch.randn(13, 7), 3)
    weights = class_weights(labels)
    objective = WeighedObjective(encoded, batch_size=13, epochs=1.0, seed=1, class_weights=weights)
    batch = objective.micro_batches(0, 0, 1)[0]
    ours = objective.loss_sum(model, batch)
    assert_close(ours, F.cross_entropy(model(batch["input_ids"]).logits, batch["labels"], weights, reduction="sum"))

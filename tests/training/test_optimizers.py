import torch
from torch import nn

from leanformer.settings import TrainingSettings
from leanformer.training.optimizers import adamw


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.table = nn.Embedding(7, 3)
        self.coefficients = nn.Parameter(torch.ones(2, 3, 3))
        self.query_scale = nn.Parameter(torch.ones(5))
        self.frozen = nn.Parameter(torch.ones(5, 5), requires_grad=False)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = Parts()
    settings = TrainingSettings(weight_decay=0.07, beta1=0.8, beta2=0.98, epsilon=1e-7)
    decaying, constant = adamw(model, settings).param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p] for p in decaying["params"]} == {"linear.weight", "table.weight", "coefficients"}
    assert {names[p] for p in constant["params"]} == {"linear.bias", "norm.weight", "norm.bias", "query_scale"}
    assert (decaying["weight_decay"], constant["weight_decay"]) == (0.07, 0)
    for group in (decaying, constant):
        assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.98), 1e-7, True)

"""AdamW as BERT uses it: decoupled weight decay on matrices and tables, none on vectors (biases, norms, scales).

Anything of two or more dimensions decays, so pairwise's coefficients (H, K, K) do, as in the authors' code, and
shared's scales (D,) do not. Differs from Google's code in the bias correction of the moments, as every later BERT does.
"""

import torch
from torch import nn

from leanformer.settings import TrainingSettings

FUSED = ("cpu", "cuda", "mps", "xpu")
"""Devices where torch updates all parameters in one kernel."""


def adamw(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=all(p.device.type in FUSED for p in parameters),
    )

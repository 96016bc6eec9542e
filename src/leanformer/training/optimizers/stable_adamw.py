"""StableAdamW: AdamW with a shorter step where its second moment lags behind the gradient.

For one tensor w with gradient g at its step t = 1, 2, ...,

    m <- m + (1 - beta1) / (1 - beta1^t) (g - m)          Adam's means with bias correction
    u <- u + (1 - beta2) / (1 - beta2^t) (g^2 - u)
    R  = sqrt(mean(g^2 / max(u, epsilon^2)))              1 while gradients keep their size
    r' = r / max(1, R)
    w <- (1 - r' decay) w - r' m / (sqrt(u) + epsilon)

With R <= 1 it is AdamW. Source: Wortsman et al., 2023, "Stable and low-precision training for large-scale
vision-language models", algorithm 2; the clipping is AdaFactor's (Shazeer and Stern, 2018). It replaces gradient
clipping; here `clip_norm` still applies, unless it is `none`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class StableAdamW(torch.optim.Optimizer):
    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), epsilon = self.state[parameter], group["betas"], group["eps"]
        if not state:
            zeros = torch.zeros_like(parameter)
            state |= {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
        state["step"] += 1  # on the CPU, so that reading it waits for no device
        t = int(state["step"])
        square = gradient.square()
        mean = state["exp_avg"].lerp_(gradient, (1 - beta1) / (1 - beta1**t))
        mean_square = state["exp_avg_sq"].lerp_(square, (1 - beta2) / (1 - beta2**t))
        surprise = (square / mean_square.clamp(min=epsilon**2)).mean().sqrt()
        rate = group["lr"] / surprise.clamp(min=1)
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.sub_(rate * mean / (mean_square.sqrt() + epsilon))

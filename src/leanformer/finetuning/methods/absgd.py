"""Attentional-biased stochastic gradient descent: hard examples count more, or less (Qi et al., 2023).

With l the B losses of a batch, lambda the temperature and gamma the rate,

    s   <-  (1 - gamma) s + gamma (1/B) sum_i exp(l_i / lambda),    s = the batch's own mean at first
    w_i  =  exp(l_i / lambda) / s

a stochastic descent on  lambda log( (1/n) sum_i exp(l_i / lambda) ): for lambda > 0 the worst mean loss over weights of
the examples, less lambda times their KL divergence from equal ones, hence for rare or hard examples; for lambda < 0 the
best one, plus |lambda| times it, for wrong labels. As |lambda| grows, w_i goes to 1 and the loss to its mean.

In logarithms, so that no loss overflows: w_i is at most B / gamma whatever the losses are. For `warmup_epochs` the loss
is the mean, and s is not touched. Differs from the authors' code, which multiplies s by a constant, starts it at 0
(each a longer step), and adds a constant to the weights for wrong labels; the formula above is the paper's.
"""

import math

import torch
from torch import Tensor

from leanformer.settings import FinetuningSettings
from leanformer.training.machine.process_group import all_gather_variable
from leanformer.training.run.callback import Callback


class Absgd(Callback):
    name = "absgd"

    def __init__(self, temperature: float, rate: float = 1.0, warmup_epochs: float = 0.0) -> None:
        self.temperature, self.rate, self.warmup_epochs = temperature, rate, warmup_epochs
        self.log_normaliser = torch.tensor(-math.inf)
        """log s; minus infinity before the first batch."""

    @classmethod
    def of(cls, settings: FinetuningSettings) -> "Absgd":
        own = settings.absgd
        return cls(own.temperature, own.rate, own.warmup_epochs)

    @torch.no_grad()
    def weights(self, losses: Tensor, epoch: float) -> Tensor:
        """w (b,), float32; moves the normaliser."""
        if epoch < self.warmup_epochs:
            return torch.ones_like(losses)
        whole = all_gather_variable(losses.float()) / self.temperature
        log_mean = whole.logsumexp(0) - math.log(len(whole))
        before = self.log_normaliser.to(losses.device)
        kept = math.log(1 - self.rate) if self.rate < 1 else -math.inf
        moved = torch.logaddexp(before + kept, log_mean + math.log(self.rate))
        self.log_normaliser = torch.where(before == -math.inf, log_mean, moved)
        return (losses.float() / self.temperature - self.log_normaliser).exp()

    def state(self) -> dict[str, Tensor]:
        return {"log_normaliser": self.log_normaliser.cpu()}

    def resume(self, state: dict[str, Tensor]) -> None:
        self.log_normaliser = state["log_normaliser"]

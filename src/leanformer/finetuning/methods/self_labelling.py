"""Self-labelling, for labels that may be wrong (Li & Zhang, 2021, "Improved Regularization and Robustness for
Fine-tuning in Neural Networks"): first the model says which labels to listen to, then which to replace.

From epoch E_r on, with l the B losses of a batch and e whole epochs,

    w_i = B softmax_i( -l / tau ),    tau = tau_0 max( 1/2, exp(-(e - floor(E_r)) / 10) )

so that the loss is sum_i softmax_i(-l / tau) l_i; for a classifier the weight is p(label)^(1/tau), normalised.

From epoch E_c on, where the model gives another label than the example's a probability above the threshold, the label
is replaced by it for good: the step that finds it learns it already, and later ones, by the example's row. The model is
asked as it is trained, with dropout, in the forward pass of the step; nothing is computed twice.
"""

import math

import torch
from torch import Tensor

from leanformer.training.machine.process_group import all_gather_variable
from leanformer.training.run.callback import Callback

DECAY, LEAST = 0.1, 0.5
"""Of tau: how fast it falls an epoch, and where it ends as a share of the first."""


class Reweighting:
    """No state: a function of the losses and the epoch."""

    def __init__(self, temperature: float, start: float) -> None:
        self.temperature, self.start = temperature, start

    @torch.no_grad()
    def weights(self, losses: Tensor, epoch: float) -> Tensor:
        """w (b,), float32"""
        if epoch < self.start:
            return torch.ones_like(losses)
        age = math.floor(epoch) - math.floor(self.start)
        tau = self.temperature * max(LEAST, math.exp(-DECAY * age))
        whole = all_gather_variable(-losses.float() / tau)
        return len(whole) * (-losses.float() / tau - whole.logsumexp(0)).exp()


class Labels(Callback):
    """What the N rows are trained for (N,), and which of it has been replaced."""

    name = "labels"

    def __init__(self, labels: Tensor, threshold: float, start: float) -> None:
        self.threshold, self.start = threshold, start
        self.given, self.current = labels, labels.clone()

    @torch.no_grad()
    def corrected(self, rows: Tensor, logits: Tensor, epoch: float) -> Tensor:
        """The labels (b,) of these rows (b,), given the model's logits (b, C), replaced where the rule says so."""
        self.current = self.current.to(logits.device)
        rows = rows.to(logits.device)
        labels = self.current[rows]
        if epoch < self.start:
            return labels
        sureness, guess = logits.float().softmax(-1).max(-1)
        labels = guess.where(sureness > self.threshold, labels)
        every = all_gather_variable(torch.stack([rows, labels], dim=1))
        self.current[every[:, 0]] = every[:, 1]
        return labels

    def replaced(self) -> list[dict[str, int]]:
        """A line a row whose label is another now: its `row`, the label it was `given`, and that it has."""
        current, given = self.current.cpu(), self.given
        rows = (current != given).nonzero()[:, 0].tolist()
        return [{"row": row, "given": int(given[row]), "label": int(current[row])} for row in rows]

    def state(self) -> dict[str, Tensor]:
        return {"current": self.current.cpu().clone()}

    def resume(self, state: dict[str, Tensor]) -> None:
        if state["current"].shape != self.given.shape:
            raise ValueError(f"it has labels of {len(state['current'])} rows, the data {len(self.given)}")
        self.current = state["current"].clone()

"""The weight of each example of a batch.

    loss = (1/B) sum_i w_i l_i,    w_i without gradient

l (b,) are the losses of this process's examples, B is the number of examples of all processes in the step.
"""

from typing import Protocol

from torch import Tensor


class Weighing(Protocol):
    def weights(self, losses: Tensor, epoch: float) -> Tensor:
        """Returns w (b,); called once per step with the losses (b,), detached, and the epochs read before it."""

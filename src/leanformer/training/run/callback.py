"""A callback of the training loop: called before and after every step, saved and resumed with the run."""

from collections.abc import Iterable

from torch import Tensor


class Callback:
    """Does nothing; the ones of `leanformer.finetuning` override what they need."""

    name = "callback"
    """Prefix of its tensors in checkpoints; every callback of a run has another one."""

    def before_step(self, step: int) -> None:
        """Before the forward pass of `step`, counted from 0."""

    def after_step(self, step: int) -> None:
        """After the optimizer has moved the weights in `step`."""

    def state(self) -> dict[str, Tensor]:
        """Returns everything that the steps so far have changed in it, equal on every process."""
        return {}

    def resume(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned; KeyError if something is missing."""


def states(callbacks: Iterable[Callback]) -> dict[str, Tensor]:
    """Returns the states of all callbacks, as `NAME.key`."""
    return {f"{each.name}.{key}": tensor for each in callbacks for key, tensor in each.state().items()}


def resume(callbacks: Iterable[Callback], found: dict[str, Tensor]) -> None:
    for each in callbacks:
        prefix = f"{each.name}."
        each.resume({key.removeprefix(prefix): tensor for key, tensor in found.items() if key.startswith(prefix)})

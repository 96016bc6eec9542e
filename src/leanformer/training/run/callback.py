"""A callback of the training loop, which is called before and after every step and saved and resumed with the run."""

from collections.abc import Iterable

from torch import Tensor


class Callback:
    """A callback that does nothing; those of `leanformer.finetuning` override the methods that they need."""

    name = "callback"
    """The prefix of its tensors in checkpoints, different for every callback of a run."""

    def before_step(self, step: int) -> None:
        """Called before the forward pass of `step`, counted from 0."""

    def after_step(self, step: int) -> None:
        """Called after the optimizer has updated the weights in `step`."""

    def state(self) -> dict[str, Tensor]:
        """Returns everything in the callback that earlier steps have changed, equal on every process."""
        return {}

    def resume(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; raises KeyError if something is missing."""


def states(callbacks: Iterable[Callback]) -> dict[str, Tensor]:
    """Returns the states of all callbacks, as `NAME.key`."""
    return {f"{each.name}.{key}": tensor for each in callbacks for key, tensor in each.state().items()}


def resume(callbacks: Iterable[Callback], tensors: dict[str, Tensor]) -> None:
    """Restore the callbacks from what `states` returned."""
    for each in callbacks:
        prefix = f"{each.name}."
        each.resume({key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)})

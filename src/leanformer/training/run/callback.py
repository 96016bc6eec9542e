"""What goes along with the training of a model: told of every step, and saved and resumed with it."""

from collections.abc import Iterable

from torch import Tensor


class Companion:
    """Does nothing; the ones of `leanformer.finetuning` override what they need."""

    name = "companion"
    """Of its state in checkpoints, another for each companion of a run."""

    def before_step(self, step: int) -> None:
        """Before the forward pass of `step`, counted from 0."""

    def after_step(self, step: int) -> None:
        """After the optimizer has moved the weights in `step`."""

    def state(self) -> dict[str, Tensor]:
        """All that the steps so far have changed in it, alike on every process."""
        return {}

    def resume(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned; KeyError if something is missing."""


def states(companions: Iterable[Companion]) -> dict[str, Tensor]:
    """Of all of them, `COMPANION.key`."""
    return {f"{each.name}.{key}": tensor for each in companions for key, tensor in each.state().items()}


def resume(companions: Iterable[Companion], found: dict[str, Tensor]) -> None:
    for each in companions:
        prefix = f"{each.name}."
        each.resume({key.removeprefix(prefix): tensor for key, tensor in found.items() if key.startswith(prefix)})

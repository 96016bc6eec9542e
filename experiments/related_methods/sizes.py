"""What the budget of the protocol is spent on."""

from dataclasses import dataclass
from typing import Any

LEAST = {"examples": 64, "noisy_examples": 64, "judged": 64, "base_tokens": 65_536, "compared_tokens": 65_536,
         "cluster_tokens": 65_536, "longest": 256}  # fmt: skip
"""Of sizes, however small the scale: below that a trial fails for reasons of its own."""


@dataclass(frozen=True)
class Sizes:
    """What the budget is spent on; `scale` makes everything smaller for a trial of the whole."""

    scale: float = 1.0
    base_tokens: int = 5_000_000
    compared_tokens: int = 600_000
    cluster_tokens: int = 2_000_000
    """Learned positions leave the plateau late."""
    examples: int = 2400
    """Of training, at most: of pst and of absgd's rare classes."""
    noisy_examples: int = 1600
    """Where labels are wrong."""
    judged: int = 1000
    """Validation examples, at most."""
    epochs: float = 3.0
    noisy_epochs: float = 5.0
    """Wrong labels must be met often to be learned by heart."""
    linking_epochs: float = 10.0
    rescnn_epochs: float = 20.0
    """The paper's are 100."""
    longest: int = 8192
    """Of sequences whose time and memory are measured, from an eighth of it on; a batch has as many tokens."""
    rounds: int = 5

    def of(self, name: str) -> Any:
        value = getattr(self, name)
        return max(LEAST.get(name, 1), type(value)(value * self.scale))

    def record(self) -> dict[str, Any]:
        return {name: self.of(name) if name != "scale" else self.scale for name in self.__dataclass_fields__}

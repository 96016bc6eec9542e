"""The gradual path from one attention to another: in every layer

    context = (1 - a) old(x) + a new(x),    a from 0 to 1

with the teacher's attention for the old one. At a = 0 a student whose other weights are the teacher's is the teacher,
at a = 1 it is itself. The old attention is frozen, and evaluated (no dropout): it goes out of use, so nothing is
gained where it learns, and the student alone is trained, saved and resumed. Gradients pass through it to x.

Hooks for the time of a `with` block: there is nothing to take out of the student afterwards.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention
from leanformer.distillation.watch import attention_layers
from leanformer.models import LeanformerConfig

ALIKE = (
    *("hidden_size", "num_hidden_layers", "positions", "rotary_base", "norm", "first_norm", "layer_sharing"),
    *("block", "sliding_window", "global_attn_every_n_layers", "local_rotary_base"),
)
"""What two models must have in common for one's attention to stand in the other's layers."""


def share(spent: float, anneal: float) -> float:
    """a when this fraction of the budget is spent."""
    return min(1.0, spent / anneal) if anneal else 1.0


@contextmanager
def blended(student: nn.Module, teacher: nn.Module, a: Tensor | float) -> Iterator[None]:
    """The student's attention, mixed with the teacher's; a tensor `a` has one number."""
    pairs = zip(attention_layers(student), attention_layers(teacher), strict=True)
    hooks = [new.register_forward_hook(_mix(old, a), with_kwargs=True) for new, old in pairs]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _mix(old: MultiHeadAttention, a: Tensor | float) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], new_BLD: Any) -> Any:
        return (1 - a) * old(*args, **kwargs) + a * new_BLD

    return hook


def require_alike(teacher: LeanformerConfig, student: LeanformerConfig) -> None:
    """ValueError unless the teacher's attention can stand in the student's layers."""
    if student.layer_sharing.startswith("kv:"):
        raise ValueError(
            f"distillation.anneal: layers hand on the student's keys (layer_sharing = {student.layer_sharing!r}), "
            "which the teacher's attention would read; leave it out"
        )
    for key in ALIKE:
        if getattr(teacher, key) != getattr(student, key):
            raise ValueError(
                f"distillation.anneal goes over from the teacher's attention, which does not fit: its {key} is "
                f"{getattr(teacher, key)!r}, the student's {getattr(student, key)!r}; leave it out"
            )
    sizes = [config.attention_shape().head_size for config in (teacher, student)]
    if student.positions == "rotary" and sizes[0] != sizes[1]:
        raise ValueError(
            f"distillation.anneal: rotary positions rotate heads of one size, and the teacher's are of {sizes[0]}, the "
            f"student's of {sizes[1]}; leave it out"
        )

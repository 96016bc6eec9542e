"""Whether a module may be replaced by its formula: the one question of every path that passes a module's call by."""

from torch import nn


def is_plain(linear: nn.Module) -> bool:
    """Whether the module is x W^T + b and nothing else.

    An adapter and a parametrization are other classes; hooks, and a `forward` of the instance's own (accelerate sets
    one where weights wait on another device), would be passed by.
    """
    hooks = (linear._forward_hooks, linear._forward_pre_hooks, linear._backward_hooks, linear._backward_pre_hooks)
    return type(linear) is nn.Linear and "forward" not in vars(linear) and not any(hooks)

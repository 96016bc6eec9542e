"""What a layer of attention makes autograd keep between the forward and the backward pass: bytes, measured.

Every tensor saved for the backward pass is one of a storage, and each storage counts once, whatever views of it are
saved; parameters and buffers, which are there anyway, count nothing. That is all that `saved_tensors_hooks` sees, and
what functions of our own keep by themselves (dropout's masks, a byte a number).

It grows with the batch, but for what the whole batch shares (a table's softmax, stacked weights). One more sequence of
L tokens takes, with H the heads and p the dropout of attention, in float32 on a CPU,

    4 n + b L^2 bytes       n = Mechanism.kept_numbers, a closed form of projection and compatibility
    b = 4 H                 where weights are computed plainly; 9 H if p > 0, 0 in a kernel and for a table's rows

without rotary positions, norms of queries and masks. So a plain path keeps L^2 numbers, dropout doubles them and adds
its mask of bytes, and scores that no example has a part in are kept once for all. Paths are `attend.py`'s choice. Where
no closed form is known (mixtures with weights, `tie_query`), the bytes are measured the same way.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from leanformer.attention import TokenMixer, build_mixer
from leanformer.attention.shape import Shape


def attention_bytes(name: str, shape: Shape, length: int, dropout: float = 0.0, **options: Any) -> int:
    """Returns the bytes of one more sequence of `length` in a layer of this mechanism, input and output projection
    included."""
    return mixer_bytes("attention", {}, name, options, shape, length, dropout)


def mixer_bytes(
    kind: str,
    mixing: Mapping[str, Any],
    name: str,
    options: Mapping[str, Any],
    shape: Shape,
    length: int,
    dropout: float = 0.0,
) -> int:
    """Returns the bytes of one more sequence of `length` in a mixer of this kind, with the mechanism `name` if it has
    heads."""
    size = max(2, -(-shape.hidden_size // length))  # so many tokens that both batches multiply stacked weights
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        layer = build_mixer(kind, mixing, name, options, shape, dropout).train()
        return _of_a_batch(layer, size + 1, length) - _of_a_batch(layer, size, length)


def kept_bytes(output: Tensor, hooked: dict[int, torch.UntypedStorage], own: list[Tensor]) -> int:
    """Returns the bytes of the storages that `hooked` holds and that nodes of the graph behind `output` keep as
    attributes, but `own`."""
    storages = dict(hooked)
    todo, seen = [output.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        tensors = (value for value in getattr(node, "__dict__", {}).values() if isinstance(value, Tensor))
        storages |= {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
        todo += [following for following, _ in node.next_functions]
    for tensor in own:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in storages.values())


def _of_a_batch(layer: TokenMixer, size: int, length: int) -> int:
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output: Any = layer(torch.randn(size, length, layer.shape.hidden_size, requires_grad=True))
    return kept_bytes(output, kept, [*layer.parameters(), *layer.buffers()])

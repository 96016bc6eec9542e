"""The contract's instruments: a layer of random weights, inputs, and the context by the formulas, a number at a time.

Sizes are distinct primes, so that no transposition survives; the head size is twice one, for rotary planes.

Shape letters: B batch, L query length, M memory length, H heads, K head size, D width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.positions import Positions
from leanformer.attention.projection import affine

B, L, M, K, H, MAX_LENGTH = 2, 5, 7, 22, 3, 13
D = H * K
Built = TypeVar("Built", bound=nn.Module)


def layer(name: str, options: dict[str, Any], head_size: int = K, **more: Any) -> MultiHeadAttention:
    """Returns a layer of this mechanism, `scattered`."""
    build = partial(MultiHeadAttention, name, H * head_size, H, MAX_LENGTH, **options, **more)
    return scattered(build, head_size)


def scattered(build: Callable[[], Built], size: int) -> Built:
    """Returns a layer in float64 whose every parameter is random, N(0, 1 / size), so that no zero or one hides a
    mistake."""
    with float64(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = build()
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=size**-0.5)
        return built


def inputs(seed: int, length: int, width: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, width, dtype=torch.float64, generator=generator)


def reference(module: MultiHeadAttention, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
    """The context by the formulas, one number at a time."""
    size, groups = module.shape.head_size, module.mechanism.kv_heads(module.shape, **module.options)
    rows = []
    for b in range(B):
        for i, x_i in enumerate(x[b]):
            context = []
            for h in range(H):
                weights, values = [], []
                for j, y_j in enumerate(memory[b]):
                    if mask[b, h, i, j]:
                        q, k, v = module.projection.formula(x_i, y_j)
                        logit = module.compatibility.formula(own(q, h, H), own(k, h, groups), x_i, y_j, h, i, j)
                        weights.append(logit.exp())
                        values.append(own(v, h, groups))
                total = sum(weights)
                context.append(
                    sum((w / total * v for w, v in zip(weights, values, strict=True)), torch.zeros(size, dtype=x.dtype))
                )
            rows.append(affine(module.output, torch.cat(context)))
    return torch.stack(rows).unflatten(0, (B, -1))


def own(whole: Any, h: int, count: int) -> Any:
    """What head h reads of a vector of `count` heads in a row; None of none."""
    return None if whole is None else whole.unflatten(0, (count, -1))[h * count // H]


def random_mask(memory_length: int) -> Tensor:
    """A different mask for every batch row, head and query, none of them empty."""
    generator = torch.Generator().manual_seed(6)
    mask = torch.rand(B, H, L, memory_length, generator=generator) < 0.6
    mask[..., 0] = True
    return mask


def gradients_of(module: nn.Module, leaves: list[Tensor], loss: Tensor) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {k: p for k, p in module.named_parameters() if p.requires_grad}
    named |= {f"input {i}": leaf for i, leaf in enumerate(leaves)}
    gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {k: torch.zeros_like(p) if g is None else g for (k, p), g in zip(named.items(), gradients, strict=True)}


def assert_equal(what: str, actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, rtol=1e-9, atol=1e-11, msg=lambda detail: f"{what} is wrong: {detail}")


@contextmanager
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def moves_all_keys_alike(module: MultiHeadAttention, parameter: str, x: Tensor) -> bool:
    """Whether a change of the parameter adds one vector to all keys of a head, and changes no query and no value."""
    changed = module.get_parameter(parameter)
    before = module.projection(x, x)
    with torch.no_grad():
        kept = changed.clone()
        changed.add_(torch.linspace(0.5, 1.5, changed.numel(), dtype=changed.dtype).view_as(changed))
        after = module.projection(x, x)
        changed.copy_(kept)
    if before.key is None:
        return False
    moved = after.key - before.key
    still = torch.equal(before.query, after.query) and torch.equal(before.value, after.value)
    return still and bool(moved.abs().max() > 1e-6) and bool((moved - moved[..., :1, :]).abs().max() < 1e-12)


def ignores_a_common_key(module: MultiHeadAttention, x: Tensor) -> bool:
    """Whether adding one vector to all keys leaves the attention weights as they are."""
    heads = module.projection(x, x)
    positions = Positions.of(torch.arange(x.shape[1])[None])
    moved = heads._replace(key=heads.key + inputs(7, 1, heads.key.shape[-1])[0, 0])
    before, after = (module.compatibility(h, x, x, positions).dense().softmax(-1) for h in (heads, moved))
    return bool((before - after).abs().max() < 1e-12)

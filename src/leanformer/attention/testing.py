"""The contract every mechanism keeps, and how to check that a new one does.

    from leanformer.attention.testing import check_mechanism
    check_mechanism("my_mechanism")                  # raises AssertionError naming the promise it breaks

Float64 on the CPU, gradients compared like values, sizes that are distinct primes so that no transposition survives;
the head size is twice one, for rotary planes.
The reference is the mechanism's own `formula`: the projection's for one token, the compatibility's for one logit, put
together here by loops that share nothing with the layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.positions import Positions, Rotary
from leanformer.attention.projections import affine
from leanformer.attention.registry import mechanism

B, L, M, K, H, MAX_LENGTH = 2, 5, 7, 22, 3, 13
D = H * K


def check_mechanism(name: str, **options: Any) -> None:
    """Check every promise below for the mechanism `name` with these options."""
    for check in CHECKS:
        try:
            check(name, options)
        except AssertionError as error:
            raise AssertionError(f"{name} {options or ''}: {check.__name__}: {error}") from error


def layer(name: str, options: dict[str, Any], head_size: int = K, **more: Any) -> MultiHeadAttention:
    """A layer in float64 whose every parameter is random, so that no zero or one hides a mistake."""
    with _float64(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = MultiHeadAttention(name, H * head_size, H, MAX_LENGTH, **options, **more)
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=head_size**-0.5)
        return built


def inputs(seed: int, length: int, width: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, width, dtype=torch.float64, generator=generator)


def reference(module: MultiHeadAttention, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
    """The context by the formulas, one number at a time."""
    size = module.shape.head_size
    rows = []
    for b in range(B):
        for i, x_i in enumerate(x[b]):
            context = []
            for h in range(H):
                part = slice(h * size, (h + 1) * size)
                weights, values = [], []
                for j, y_j in enumerate(memory[b]):
                    if mask[b, h, i, j]:
                        q, k, v = module.projection.formula(x_i, y_j)
                        q, k = (None if whole is None else whole[part] for whole in (q, k))
                        logit = module.compatibility.formula(q, k, x_i, y_j, h, i, j)
                        weights.append(logit.exp())
                        values.append(v[part])
                total = sum(weights)
                context.append(
                    sum((w / total * v for w, v in zip(weights, values, strict=True)), torch.zeros(size, dtype=x.dtype))
                )
            rows.append(affine(module.output, torch.cat(context)))
    return torch.stack(rows).unflatten(0, (B, -1))


def check_values_and_gradients_equal_the_formula(name: str, options: dict[str, Any]) -> None:
    for memory_length in _memory_lengths(name):
        module = layer(name, options)
        leaves = [inputs(2, L).requires_grad_()]
        if memory_length is not None:
            leaves.append(inputs(3, memory_length).requires_grad_())
        x, memory = leaves[0], leaves[-1]
        mask = _random_mask(memory.shape[1])
        weight = inputs(4, L)
        expected = reference(module, x, memory, mask)
        expected_gradients = _gradients(module, leaves, (expected * weight).sum())
        for fused in (False, True):
            module.fused = fused
            actual = module(x, None if memory_length is None else memory, mask)
            _assert_close("context", actual, expected)
            gradients = _gradients(module, leaves, (actual * weight).sum())
            for leaf in expected_gradients:
                _assert_close(f"gradient of {leaf}", gradients[leaf], expected_gradients[leaf])


def check_fused_equals_plain(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L).requires_grad_()
    for mask in (None, _random_mask(L), torch.ones(L, L, dtype=torch.bool).tril(), torch.zeros(B, 1, L, L) > 0):
        outcomes = []
        for fused in (False, True):
            module.fused = fused
            context = module(x, mask=mask)
            outcomes.append((context, _gradients(module, [x], context.square().sum())))
        _assert_close("context", outcomes[1][0], outcomes[0][0])
        for leaf, gradient in outcomes[0][1].items():
            _assert_close(f"gradient of {leaf}", outcomes[1][1][leaf], gradient)
    context, weights = module(x, mask=_random_mask(L), return_weights=True)
    _assert_close("context with weights", context, module(x, mask=_random_mask(L)))
    _assert_close("sum of the weights", weights.sum(-1), torch.ones(B, H, L, dtype=x.dtype))


def check_padding_has_no_say(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x, other = inputs(2, L), inputs(2, L)
    other[:, -2:] = inputs(5, 2)
    padding = torch.ones(B, 1, 1, L, dtype=torch.bool)
    padding[..., -2:] = False
    for module.fused in (False, True):
        _assert_close("context", module(other, mask=padding)[:, :-2], module(x, mask=padding)[:, :-2])


def check_future_has_no_say(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x, other = inputs(2, L), inputs(2, L)
    other[:, 3:] = inputs(5, L - 3)
    causal = torch.ones(L, L, dtype=torch.bool).tril()
    for module.fused in (False, True):
        _assert_close("context", module(other, mask=causal)[:, :3], module(x, mask=causal)[:, :3])


def check_empty_rows_are_zero(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L).requires_grad_()
    mask = _random_mask(L)
    mask[0, :, 1] = False
    for module.fused in (False, True):
        context = module(x, mask=mask)
        _assert_close("context of an empty row", context[0, 1], module.output(torch.zeros(D, dtype=x.dtype)))
        for leaf, gradient in _gradients(module, [x], context.sum()).items():
            assert gradient.isfinite().all(), f"gradient of {leaf} is not finite"


def check_batch_rows_are_independent(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L)
    _assert_close("context", module(x), torch.cat([module(row[None]) for row in x]))


def check_every_parameter_learns(name: str, options: dict[str, Any]) -> None:
    """But for a key bias that shifts all logits of a row alike: the softmax cancels it, so its gradient is zero. A norm
    behind the bias makes it matter.
    """
    module = layer(name, options)
    x = inputs(2, L)
    gradients = _gradients(module, [], (module(x) * inputs(4, L)).sum())
    for parameter, gradient in gradients.items():
        unnormed = parameter == "projection.key.bias" and not module.shape.qk_norm
        if unnormed and _ignores_a_common_key(module, x):
            _assert_close("gradient of a key bias without effect", gradient, torch.zeros_like(gradient))
        else:
            assert gradient.abs().max() > 1e-9, f"{parameter} never learns"


def check_rotation_turns_query_and_key(name: str, options: dict[str, Any]) -> None:
    """Rotary logits are the complex products of unrotated pairs turned by their positions, and see distances only."""
    size = 2 * K
    module = layer(name, options, head_size=size)
    x = inputs(2, L, H * size)
    heads = module.projection(x, x)
    ids = torch.tensor([[3, 0, 11, 5, 7]])
    plain = module.compatibility(heads, x, x, Positions.of(ids))
    if plain.query is None:
        return
    rotary = Rotary(size, base=7.0)
    with _float64():
        turned = module.compatibility(heads, x, x, Positions.of(ids, rotary=rotary)).dense()
    frequency = 7.0 ** (-torch.arange(K, dtype=torch.float64) / K)
    turn = torch.polar(torch.ones(L, K, dtype=torch.float64), ids[0][:, None] * frequency)
    expected = torch.zeros_like(turned)
    for query, key in zip(plain.query.split(size, -1), plain.key.split(size, -1), strict=True):  # a pair a part
        expected += torch.einsum("bhlc,bhmc->bhlm", _complex(query) * turn, (_complex(key) * turn).conj()).real
    _assert_close("logits", turned, expected if plain.bias is None else expected + plain.bias)
    if plain.bias is None:
        with _float64():
            shifted = module.compatibility(heads, x, x, Positions.of(ids + 13, rotary=rotary)).dense()
        _assert_close("logits after a common shift", shifted, turned)


def check_counts_are_exact(name: str, options: dict[str, Any]) -> None:
    """FLOPs are those of one sequence: scores that do not depend on the input are made once for a whole batch."""
    for bias in (False, True):
        module = layer(name, options | {"bias": bias})
        assert module.num_params() == sum(p.numel() for p in module.parameters() if p.requires_grad)
        module.fused = False
        for memory_length in _memory_lengths(name):
            memory = None if memory_length is None else inputs(3, memory_length)
            with FlopCounterMode(display=False) as counter:
                module(inputs(2, L)[:1], None if memory is None else memory[:1])
            assert counter.get_total_flops() == module.flops(L, memory_length), "FLOPs differ from the closed form"


def check_state_dict_restores_the_layer(name: str, options: dict[str, Any]) -> None:
    module, other = layer(name, options), layer(name, options)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    _assert_close("context", other(inputs(2, L)), module(inputs(2, L)))
    pointers = [value.data_ptr() for value in module.state_dict().values()]
    assert len(set(pointers)) == len(pointers), "two names share one tensor"


def check_length_is_bounded(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    assert module(inputs(2, MAX_LENGTH)).shape == (B, MAX_LENGTH, D)
    try:
        module(inputs(2, MAX_LENGTH + 1))
    except ValueError as error:
        assert str(MAX_LENGTH) in str(error), "the message does not name the limit"
    else:
        raise AssertionError("a sequence longer than max_length passes")


def check_compiles_whole(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for mask in (None, _random_mask(L)):
        _assert_close("context", compiled(inputs(2, L), mask=mask), module(inputs(2, L), mask=mask))


CHECKS: list[Callable[[str, dict[str, Any]], None]] = [
    check_values_and_gradients_equal_the_formula,
    check_fused_equals_plain,
    check_padding_has_no_say,
    check_future_has_no_say,
    check_empty_rows_are_zero,
    check_batch_rows_are_independent,
    check_every_parameter_learns,
    check_rotation_turns_query_and_key,
    check_counts_are_exact,
    check_state_dict_restores_the_layer,
    check_length_is_bounded,
    check_compiles_whole,
]


def _memory_lengths(name: str) -> list[int | None]:
    return [None, M] if mechanism(name).cross else [None]


def _complex(pairs: Tensor) -> Tensor:
    return torch.complex(*pairs.chunk(2, -1))


def _random_mask(memory_length: int) -> Tensor:
    """A different mask for every batch row, head and query, none of them empty."""
    generator = torch.Generator().manual_seed(6)
    mask = torch.rand(B, H, L, memory_length, generator=generator) < 0.6
    mask[..., 0] = True
    return mask


def _gradients(module: MultiHeadAttention, leaves: list[Tensor], loss: Tensor) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {k: p for k, p in module.named_parameters() if p.requires_grad}
    named |= {f"input {i}": leaf for i, leaf in enumerate(leaves)}
    gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {k: torch.zeros_like(p) if g is None else g for (k, p), g in zip(named.items(), gradients, strict=True)}


def _ignores_a_common_key(module: MultiHeadAttention, x: Tensor) -> bool:
    """Whether adding one vector to all keys leaves the attention weights as they are."""
    heads = module.projection(x, x)
    positions = Positions.of(torch.arange(x.shape[1])[None])
    moved = heads._replace(key=heads.key + inputs(7, 1, K)[0, 0])
    before, after = (module.compatibility(h, x, x, positions).dense().softmax(-1) for h in (heads, moved))
    return bool((before - after).abs().max() < 1e-12)


def _assert_close(what: str, actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, rtol=1e-9, atol=1e-11, msg=lambda detail: f"{what} is wrong: {detail}")


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

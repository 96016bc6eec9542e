"""The contract every mechanism keeps, and how to check that a new one does.

    from leanformer.attention.testing import check_mechanism
    check_mechanism("my_mechanism")                  # raises AssertionError naming the promise it breaks

Float64 on the CPU, gradients compared like values. The reference is the mechanism's own `formula`: the projection's for
one token, the compatibility's for one logit, put together in `reference` by loops that share nothing with the layer.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from leanformer.attention.positions import Positions, Rotary
from leanformer.attention.promises import Check, broken
from leanformer.attention.reference import (
    MAX_LENGTH,
    B,
    D,
    H,
    K,
    L,
    M,
    assert_equal,
    float64,
    gradients_of,
    ignores_a_common_key,
    inputs,
    layer,
    moves_all_keys_alike,
    random_mask,
    reference,
)
from leanformer.attention.registry import mechanism
from leanformer.attention.some_queries import take


def check_mechanism(name: str, **options: Any) -> None:
    """Check every promise below for the mechanism `name` with these options."""
    for check in CHECKS:
        try:
            check(name, options)
        except AssertionError as error:
            raise AssertionError(f"{name} {options or ''}: {check.__name__}: {error}") from error


def broken_promises(name: str, **options: Any) -> Iterator[tuple[str, str | None]]:
    """Returns each promise in words, with the reason in one line if this mechanism breaks it, else None."""
    return broken(CHECKS, name, options)


def check_values_and_gradients_equal_the_formula(name: str, options: dict[str, Any]) -> None:
    for memory_length in _memory_lengths(name):
        module = layer(name, options)
        leaves = [inputs(2, L).requires_grad_()]
        if memory_length is not None:
            leaves.append(inputs(3, memory_length).requires_grad_())
        x, memory = leaves[0], leaves[-1]
        mask = random_mask(memory.shape[1])
        weight = inputs(4, L)
        expected = reference(module, x, memory, mask)
        expected_gradients = gradients_of(module, leaves, (expected * weight).sum())
        for fused in (False, True):
            module.fused = fused
            actual = module(x, None if memory_length is None else memory, mask)
            assert_equal("context", actual, expected)
            gradients = gradients_of(module, leaves, (actual * weight).sum())
            for leaf in expected_gradients:
                assert_equal(f"gradient of {leaf}", gradients[leaf], expected_gradients[leaf])


def check_fused_equals_plain(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L).requires_grad_()
    for mask in (None, random_mask(L), torch.ones(L, L, dtype=torch.bool).tril(), torch.zeros(B, 1, L, L) > 0):
        outcomes = []
        for fused in (False, True):
            module.fused = fused
            context = module(x, mask=mask)
            outcomes.append((context, gradients_of(module, [x], context.square().sum())))
        assert_equal("context", outcomes[1][0], outcomes[0][0])
        for leaf, gradient in outcomes[0][1].items():
            assert_equal(f"gradient of {leaf}", outcomes[1][1][leaf], gradient)
    context, weights = module(x, mask=random_mask(L), return_weights=True)
    assert_equal("context with weights", context, module(x, mask=random_mask(L)))
    assert_equal("sum of the weights", weights.sum(-1), torch.ones(B, H, L, dtype=x.dtype))


def check_padding_changes_nothing(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x, other = inputs(2, L), inputs(2, L)
    other[:, -2:] = inputs(5, 2)
    padding = torch.ones(B, 1, 1, L, dtype=torch.bool)
    padding[..., -2:] = False
    for module.fused in (False, True):
        assert_equal("context", module(other, mask=padding)[:, :-2], module(x, mask=padding)[:, :-2])


def check_future_changes_nothing(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x, other = inputs(2, L), inputs(2, L)
    other[:, 3:] = inputs(5, L - 3)
    causal = torch.ones(L, L, dtype=torch.bool).tril()
    for module.fused in (False, True):
        assert_equal("context", module(other, mask=causal)[:, :3], module(x, mask=causal)[:, :3])


def check_empty_rows_are_zero(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L).requires_grad_()
    mask = random_mask(L)
    mask[0, :, 1] = False
    for module.fused in (False, True):
        context = module(x, mask=mask)
        assert_equal("context of an empty row", context[0, 1], module.output(torch.zeros(D, dtype=x.dtype)))
        for leaf, gradient in gradients_of(module, [x], context.sum()).items():
            assert gradient.isfinite().all(), f"gradient of {leaf} is not finite"


def check_batch_rows_are_independent(name: str, options: dict[str, Any]) -> None:
    module = layer(name, options)
    x = inputs(2, L)
    assert_equal("context", module(x), torch.cat([module(row[None]) for row in x]))


def check_some_queries_equal_all(name: str, options: dict[str, Any]) -> None:
    """The last block of a model asks for the queries that are read from, alone."""
    module = layer(name, options)
    x = inputs(2, L).requires_grad_()
    places = torch.tensor([[4, 0], [1, 1]])
    mask = random_mask(L)
    whole = take(module(x, mask=mask), places)
    expected = gradients_of(module, [x], whole.square().sum())
    some = module.at(places, x, mask)
    assert_equal("context", some, whole)
    gradients = gradients_of(module, [x], some.square().sum())
    for leaf, gradient in expected.items():
        assert_equal(f"gradient of {leaf}", gradients[leaf], gradient)


def check_every_parameter_learns(name: str, options: dict[str, Any]) -> None:
    """Each parameter has a gradient, except one that adds the same vector to all keys of a head, such as a key's bias,
    where this shifts all logits of a row alike: the softmax cancels it, so its gradient is zero.
    """
    module = layer(name, options)
    x = inputs(2, L)
    gradients = gradients_of(module, [], (module(x) * inputs(4, L)).sum())
    for parameter, gradient in gradients.items():
        if moves_all_keys_alike(module, parameter, x) and ignores_a_common_key(module, x):
            assert_equal(f"gradient of {parameter}, which has no effect", gradient, torch.zeros_like(gradient))
        else:
            assert gradient.abs().max() > 1e-9, f"{parameter} never learns"


def check_rotation_turns_query_and_key(name: str, options: dict[str, Any]) -> None:
    """Rotary logits are the complex products of unrotated pairs rotated by their positions, and see distances only."""
    module = layer(name, options, head_size=2 * K)
    x = inputs(2, L, H * 2 * K)
    heads = module.projection(x, x)
    whole = 2 * K if heads.query is None else heads.query.shape[-1]
    size = module.compatibility.rotated_size(whole)
    if size % 2:
        return  # a model with rotary positions refuses it
    ids = torch.tensor([[3, 0, 11, 5, 7]])
    rotary = Rotary(size, base=7.0)

    def scores(places: Tensor) -> Tensor:
        with float64():
            return module.compatibility(heads, x, x, Positions.of(places, rotary=rotary)).dense()

    rotated = scores(ids)
    ignored = torch.equal(rotated, scores(ids.flip(-1)))
    assert not ignored, "rotary positions have no effect: return Logits(*positions.rotate(query, key))"
    plain = module.compatibility(heads, x, x, Positions.of(ids))
    if plain.query is None:
        return
    frequency = 7.0 ** (-torch.arange(size // 2, dtype=torch.float64) / (size // 2))
    rotation = torch.polar(torch.ones(L, size // 2, dtype=torch.float64), ids[0][:, None] * frequency)
    expected = torch.zeros_like(rotated)
    for query, key in zip(plain.query.split(whole, -1), plain.key.split(whole, -1), strict=True):  # a pair a part
        key = key.expand(-1, H, -1, -1) if key.shape[1] == 1 else key.repeat_interleave(H // key.shape[1], 1)
        still = whole - size
        expected += torch.einsum("bhlc,bhmc->bhlm", query[..., :still], key[..., :still])
        query, key = (_complex(side[..., still:]) * rotation for side in (query, key))
        expected += torch.einsum("bhlc,bhmc->bhlm", query, key.conj()).real
    assert_equal("logits", rotated, expected if plain.bias is None else expected + plain.bias)
    if plain.bias is None:
        assert_equal("logits after a common shift", scores(ids + 13), rotated)


def check_bilinear_form_is_that_of_the_scores(name: str, options: dict[str, Any]) -> None:
    """logit = rotate(q B) . rotate(k), with rotary positions and without; and B can be given back to the class."""
    module = layer(name, options)
    x = inputs(2, L)
    heads, form_HCC = module.projection(x, x), module.compatibility.bilinear_form()
    assert (form_HCC is None) == (module.compatibility.family is None), "family and bilinear_form disagree"
    if form_HCC is None:
        return
    with float64():
        rotary = [None, Rotary(heads.query.shape[-1])] if heads.query.shape[-1] % 2 == 0 else [None]
        for each in rotary:
            places = Positions.counted(L, L, x.device, each)
            query, key = places.rotate(heads.query @ form_HCC, heads.key)
            scores = module.compatibility(heads, x, x, places).dense()
            assert_equal("logits", scores, query @ key.transpose(-1, -2))
        with torch.no_grad():
            module.compatibility.set_bilinear_form(form_HCC)
    again_HCC = module.compatibility.bilinear_form()
    assert again_HCC is not None
    assert_equal("form that was given back", again_HCC, form_HCC)


def check_counts_are_exact(name: str, options: dict[str, Any]) -> None:
    """FLOPs are those of one sequence: scores that do not depend on the input are made once for a whole batch."""
    for bias in (False, True):
        module = layer(name, options | {"bias": bias})
        there = sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert module.num_params() == there, f"num_params says {module.num_params()}, the layer has {there} parameters"
        module.fused = False
        for memory_length in _memory_lengths(name):
            memory = None if memory_length is None else inputs(3, memory_length)
            with FlopCounterMode(display=False) as counter:
                module(inputs(2, L)[:1], None if memory is None else memory[:1])
            counted, said = counter.get_total_flops(), module.flops(L, memory_length)
            assert counted == said, f"flops says {said}, PyTorch counts {counted}"


def check_state_dict_restores_the_layer(name: str, options: dict[str, Any]) -> None:
    module, other = layer(name, options), layer(name, options)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    assert_equal("context", other(inputs(2, L)), module(inputs(2, L)))
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
    for mask in (None, random_mask(L)):
        assert_equal("context", compiled(inputs(2, L), mask=mask), module(inputs(2, L), mask=mask))


CHECKS: list[Check] = [
    check_values_and_gradients_equal_the_formula,
    check_fused_equals_plain,
    check_padding_changes_nothing,
    check_future_changes_nothing,
    check_empty_rows_are_zero,
    check_batch_rows_are_independent,
    check_some_queries_equal_all,
    check_every_parameter_learns,
    check_rotation_turns_query_and_key,
    check_bilinear_form_is_that_of_the_scores,
    check_counts_are_exact,
    check_state_dict_restores_the_layer,
    check_length_is_bounded,
    check_compiles_whole,
]


def _memory_lengths(name: str) -> list[int | None]:
    return [None, M] if mechanism(name).cross else [None]


def _complex(pairs: Tensor) -> Tensor:
    return torch.complex(*pairs.chunk(2, -1))

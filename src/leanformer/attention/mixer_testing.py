"""The contract of mixers without heads, and how to check that a new one keeps it.

    from leanformer.attention.mixer_testing import check_token_mixer
    check_token_mixer("my_mixer")                    # raises AssertionError naming the promise it breaks

Float64 on the CPU, gradients compared like values. The reference is the mixer's own `formula`, for one text of tokens.
Mixers with heads are made of `MultiHeadAttention`, whose mechanisms have a contract of their own (`testing`).
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.mixers import DEFAULT, build_mixer
from leanformer.attention.promises import Check, broken
from leanformer.attention.reference import MAX_LENGTH, B, D, H, K, L, assert_equal, gradients_of, inputs, scattered
from leanformer.attention.shape import Shape
from leanformer.attention.some_queries import take
from leanformer.attention.token_mixer import TokenMixer


def check_token_mixer(name: str, **mixing: Any) -> None:
    """Check every promise below for the mixer `name` with these options."""
    for promise, reason in broken_mixer_promises(name, **mixing):
        if reason is not None:
            raise AssertionError(f"{name} {mixing or ''}: {promise}: {reason}")


def broken_mixer_promises(name: str, **mixing: Any) -> Iterator[tuple[str, str | None]]:
    """Returns each promise in words, with the reason in one line if this mixer breaks it, else None."""
    return broken(CHECKS, name, mixing)


def check_values_and_gradients_equal_the_formula(name: str, mixing: dict[str, Any]) -> None:
    for bias in (True, False):
        module, x, weight = layer(name, mixing, bias), inputs(2, L).requires_grad_(), inputs(4, L)
        expected = torch.stack([module.formula(text) for text in x])
        wanted = gradients_of(module, [x], (expected * weight).sum())
        actual = module(x)
        assert_equal("output", actual, expected)
        for leaf, gradient in gradients_of(module, [x], (actual * weight).sum()).items():
            assert_equal(f"gradient of {leaf}", gradient, wanted[leaf])


def check_a_padded_text_gets_what_it_gets_alone(name: str, mixing: dict[str, Any]) -> None:
    """Whatever stands in the padding, also what is not finite, and gradients with it."""
    module, x, weight = layer(name, mixing), inputs(2, L).requires_grad_(), inputs(4, L)
    tokens = torch.ones(B, L, dtype=torch.bool)
    tokens[1, -2:] = False
    mask = tokens[:, None, None, :]
    expected = torch.cat([module.formula(text[real]) for text, real in zip(x, tokens, strict=True)])
    wanted = gradients_of(module, [x], (expected * weight[tokens]).sum())
    actual = module(x, mask=mask)[tokens]
    assert_equal("output", actual, expected)
    for leaf, gradient in gradients_of(module, [x], (actual * weight[tokens]).sum()).items():
        assert_equal(f"gradient of {leaf}", gradient, wanted[leaf])
    other = x.detach().masked_fill(~tokens[..., None], 1e30)
    assert_equal("output with other padding", module(other, mask=mask)[tokens], actual)


def check_batch_rows_are_independent(name: str, mixing: dict[str, Any]) -> None:
    module, x = layer(name, mixing), inputs(2, L)
    assert_equal("output", module(x), torch.cat([module(row[None]) for row in x]))


def check_an_empty_text_is_finite(name: str, mixing: dict[str, Any]) -> None:
    module, x = layer(name, mixing), inputs(2, L).requires_grad_()
    output = module(x, mask=torch.zeros(B, 1, 1, L, dtype=torch.bool))
    for leaf, gradient in gradients_of(module, [x], output.sum()).items():
        assert gradient.isfinite().all(), f"gradient of {leaf} is not finite"
    assert output.isfinite().all(), "output is not finite"


def check_some_places_equal_all(name: str, mixing: dict[str, Any]) -> None:
    """The last block of a model asks for the tokens that are read from, alone."""
    module, x, places = layer(name, mixing), inputs(2, L), torch.tensor([[4, 0], [1, 1]])
    assert_equal("output", module.at(places, x), take(module(x), places))


def check_every_parameter_learns(name: str, mixing: dict[str, Any]) -> None:
    """Except the bias of a tiny head's key, which the softmax cancels."""
    module, x = layer(name, mixing), inputs(2, MAX_LENGTH)
    if not list(module.parameters()):
        return
    for parameter, gradient in gradients_of(module, [], (module(x) * inputs(4, MAX_LENGTH)).sum()).items():
        assert gradient.abs().max() > 1e-9 or parameter.endswith("projection.key.bias"), f"{parameter} never learns"


def check_counts_are_exact(name: str, mixing: dict[str, Any]) -> None:
    for bias in (False, True):
        module = layer(name, mixing, bias)
        there = sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert module.num_params() == there, f"num_params says {module.num_params()}, the layer has {there} parameters"
        for part in module.modules():
            if isinstance(part, MultiHeadAttention):
                part.fused = False  # PyTorch's counter does not know a CPU's fused kernel
        with FlopCounterMode(display=False) as counter:
            module(inputs(2, L)[:1])
        counted, said = counter.get_total_flops(), module.flops(L)
        assert counted == said, f"flops says {said}, PyTorch counts {counted}"


def check_new_values_are_the_seeds(name: str, mixing: dict[str, Any]) -> None:
    """What a model draws for bare parameters is named by `initial_values`, which is all that the seed decides."""
    module = layer(name, mixing)
    for part_name, part in module.named_modules():
        bare = dict(part.named_parameters(recurse=False))
        if bare and not hasattr(part, "reset_parameters"):
            assert hasattr(part, "initial_values"), f"{part_name or name} has parameters and no initial_values"
            missing = bare.keys() - part.initial_values().keys()
            assert not missing, f"initial_values of {part_name or name} has no {', '.join(missing)}"


def check_state_dict_restores_the_layer(name: str, mixing: dict[str, Any]) -> None:
    module, other = layer(name, mixing), layer(name, mixing)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    assert_equal("output", other(inputs(2, L)), module(inputs(2, L)))


def check_length_is_bounded(name: str, mixing: dict[str, Any]) -> None:
    module = layer(name, mixing)
    assert module(inputs(2, MAX_LENGTH)).shape == (B, MAX_LENGTH, D)
    _require_refusal(lambda: module(inputs(2, MAX_LENGTH + 1)), str(MAX_LENGTH), "a text longer than max_length")


def check_what_it_cannot_do_is_refused(name: str, mixing: dict[str, Any]) -> None:
    module, x = layer(name, mixing), inputs(2, L)
    _require_refusal(lambda: module(x, memory=inputs(3, L)), "encoder", "another sequence to attend to")
    _require_refusal(lambda: module(x, causal=True), "encoder", "causal")
    _require_refusal(lambda: module(x, return_weights=True), "output_attentions", "return_weights")
    pairs = torch.ones(1, 1, L, L, dtype=torch.bool).tril()
    _require_refusal(lambda: module(x, mask=pairs), "document_mask", "a mask of pairs")


def check_compiles_whole(name: str, mixing: dict[str, Any]) -> None:
    module = layer(name, mixing)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    padding = torch.ones(B, 1, 1, L, dtype=torch.bool)
    padding[1, ..., -2:] = False
    for mask in (None, padding):
        assert_equal("output", compiled(inputs(2, L), mask=mask), module(inputs(2, L), mask=mask))


CHECKS: list[Check] = [
    check_values_and_gradients_equal_the_formula,
    check_a_padded_text_gets_what_it_gets_alone,
    check_batch_rows_are_independent,
    check_an_empty_text_is_finite,
    check_some_places_equal_all,
    check_every_parameter_learns,
    check_counts_are_exact,
    check_new_values_are_the_seeds,
    check_state_dict_restores_the_layer,
    check_length_is_bounded,
    check_what_it_cannot_do_is_refused,
    check_compiles_whole,
]


def layer(name: str, mixing: dict[str, Any], bias: bool = True) -> TokenMixer:
    """A mixer in float64 whose every parameter is random, so that no zero or one hides a mistake."""
    return scattered(lambda: build_mixer(name, mixing, DEFAULT, {}, Shape(D, H, MAX_LENGTH, bias)), K).eval()


def _require_refusal(call: Callable[[], Tensor | tuple[Tensor, Tensor]], word: str, what: str) -> None:
    try:
        call()
    except ValueError as error:
        assert word in str(error) and "\n" not in str(error), f"{what}: the message does not say {word!r}: {error}"
    else:
        raise AssertionError(f"{what} passes")

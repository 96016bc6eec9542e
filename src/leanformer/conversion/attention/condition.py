"""The condition of a head: by how much the numbers that it adds up exceed what they add up to.

With B the form between query and key and centred logits and outputs of the source's head, all over real hidden states,

    logits   (sum_kl E q_k^2 B_kl^2 E k_l^2)^(1/2)  /  (E logit^2)^(1/2)
    value    (sum_k |O_k|^2 E v_k^2)^(1/2)  /  (E |output|^2)^(1/2)

Rounding changes each number by a small fraction of itself, by 2^-9 at most in bf16, and so logits and outputs by about
this fraction times the condition. Heads of trained models have conditions of one to ten. Positions are taken as equal.

Shape letters: D width, K head size.
"""

from torch import Tensor

from leanformer.attention import Compatibility, MultiHeadAttention
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps, head_outputs, part_maps
from leanformer.conversion.attention.moments import Moments


def conditions(
    source: list[HeadMaps], layer: MultiHeadAttention, part: Compatibility, moments: Moments
) -> list[tuple[float, float]]:
    """The condition of the logits and of the value of every head of a layer, of which `part` compares."""
    forms = part.bilinear_form()
    assert forms is not None
    queries, keys, values = (part_maps(layer, each) for each in ("query", "key", "value"))
    rows = zip(source, queries, forms, keys, values, head_outputs(layer), strict=True)
    m, C = moments.mean, moments.metric
    return [_condition(old, query, form, key, value, out, m, C) for old, query, form, key, value, out in rows]


def _condition(
    old: HeadMaps, query: Affine, form_KK: Tensor, key: Affine, value: Affine, output_DK: Tensor, m: Tensor, C: Tensor
) -> tuple[float, float]:
    assert old.query is not None and old.key is not None
    keys = old.key.weight @ C @ old.key.weight.T
    constant = old.query.weight @ m + old.query.bias
    energy = ((old.query.weight @ C @ old.query.weight.T) * keys).sum() + constant @ keys @ constant
    logits = _square(query, m, C) @ form_KK.square() @ _square(key, m, C) / energy.clamp(min=1e-300)
    made = old.output @ old.value.weight
    energy = ((made @ C) * made).sum()
    values = output_DK.square().sum(0) @ _square(value, m, C) / energy.clamp(min=1e-300)
    return float(logits.sqrt()), float(values.sqrt())


def _square(part: Affine, m: Tensor, C: Tensor) -> Tensor:
    """(K,): the mean square of every channel."""
    return ((part.weight @ C) * part.weight).sum(1) + (part.weight @ m + part.bias).square()

"""Exact rewritings of a trained model, encoder or decoder: other maps, and the same outputs.

    absorb   what stands between query and key goes into the query's map, and diagonals into theirs, so that any
             bilinear mechanism becomes a plain dot product, which other programs compute:
                 q_h B_h . k_h = (sqrt(K) q_h B_h) . k_h / sqrt(K)      W_q,h := sqrt(K) W_h B_h,  b_q,h likewise
             with rotary positions, too, as B_h stands before the rotation or commutes with it. Where query and key
             were one map they are two; G heads of keys stay G.
    slim     values are made of keys (`attention/mechanisms/slim`), W_kv = W_k^-1 W_v: half of a decoder's cache

Both are computed in float64. `slim` divides by W_k, and its values are off by about cond(W_k) eps of the type they are
saved in: beyond `TOLERANCE` it is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, QueryOnly, mechanism
from leanformer.attention.options import options_of
from leanformer.conversion.attention.layer_maps import Affine, part_maps
from leanformer.models import LeanformerDecoder, LeanformerModel
from leanformer.models.config import LeanformerConfig
from leanformer.spelling import suggest

REWRITINGS = ("absorb", "slim")
TOLERANCE = 1e-3
"""The relative error of values that `slim` may cause: by this rule float32 takes condition numbers up to 8,388."""
SLIM = "value_from_key"

Slots = dict[str, tuple[str, dict[str, Any]]]
"""Mechanism and options by slot: "encoder", "decoder", "cross"."""


class Slim(NamedTuple):
    """A layer whose values are made of keys, and the condition number of its keys' map."""

    layer: str
    condition: float


@torch.no_grad()
def rewrite(model: Any, kind: str, dtype: torch.dtype | None = None) -> tuple[Any, list[Slim]]:
    """Returns a copy of the model, rewritten, in its own type; `dtype` is the one that it is saved in, if another.

    ValueError, by name, for what cannot be rewritten, and where nothing is to be.
    """
    if kind not in REWRITINGS:
        raise ValueError(f"--rewrite {kind!r}: {suggest(kind, REWRITINGS)}")
    _require_rewritable(model.config, kind)
    old, new = _slots(model), Slots()
    for slot, own in old.items():
        changed = _absorbed(model.config, *own) if kind == "absorb" else _slimmed(model.config, slot, *own)
        if changed is not None:
            new[slot] = changed
    if not new:
        held = ", ".join(dict.fromkeys(name for name, _ in old.values()))
        why = "has nothing between query and key" if kind == "absorb" else "is an encoder's, which has no cache"
        raise ValueError(f"--rewrite {kind}: the attention of this model ({held}) {why}, leave it out")
    target, found = _built(model, new), list[Slim]()
    before, after = (dict(_attentions(each)) for each in (model, target))
    for name, (slot, source) in before.items():
        if slot not in new:
            continue
        made = after[name][1]
        if kind == "absorb":
            _absorb(source, made)
        else:
            found.append(Slim(name, _slim(name, source, made, dtype or next(model.parameters()).dtype)))
    return target.train(model.training), found


def _require_rewritable(config: LeanformerConfig, kind: str) -> None:
    rules = {
        "mixer": (config.mixer == "attention", "is more than attention"),
        "shared_heads": (config.shared_heads is None, "lets heads share maps, which would differ"),
        "layer_sharing": (not config.layer_sharing.startswith("atoms"), "makes maps of atoms"),
        "qk_norm": (kind == "slim" or not config.qk_norm, "divides by what it compares, so nothing can be absorbed"),
    }
    for key, (holds, why) in rules.items():
        if not holds:
            raise ValueError(f"--rewrite {kind}: {key} = {getattr(config, key)!r} {why}; leave out --rewrite")


def _slots(model: nn.Module) -> Slots:
    config: Any = model.config
    kinds = [type(module) for module in model.modules()]
    slots: Slots = {"encoder": (config.attention, config.attention_options)} if LeanformerModel in kinds else {}
    if LeanformerDecoder in kinds:
        slots["decoder"] = config.decoder_self_attention()
    if config.is_encoder_decoder:
        slots["cross"] = (config.cross_attention, config.cross_attention_options)
    return slots


def _attentions(model: nn.Module) -> Iterator[tuple[str, tuple[str, MultiHeadAttention]]]:
    """Yields the name of every attention, its slot and itself."""
    for prefix, stack in model.named_modules():
        if not isinstance(stack, LeanformerModel | LeanformerDecoder):
            continue
        own = "encoder" if isinstance(stack, LeanformerModel) else "decoder"
        for name, module in stack.named_modules():
            if isinstance(module, MultiHeadAttention):
                slot = "cross" if name.endswith("cross_attention") else own
                yield f"{prefix}.{name}".removeprefix("."), (slot, module)


def _absorbed(config: LeanformerConfig, name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The dot product with maps of its own that this mechanism can be; None if it is that."""
    row, shape = mechanism(name), config.shape()
    with torch.device("meta"):
        projection, compatibility = row.build(shape, **options)
    if compatibility.family is None:
        raise ValueError(f"--rewrite absorb: the scores of {name} are no bilinear form; leave out --rewrite")
    if missing := [part for part in ("query", "key", "value") if part not in projection.parts]:
        raise ValueError(f"--rewrite absorb: the projection of {name} makes no {missing[0]} by a map of the input")
    groups = row.kv_heads(shape, **options)
    grouped = {"kv_heads": groups} if groups < shape.num_heads else {}
    plain = projection.ties() == "q,k,v" and compatibility.family == "scale" and options.get("scaled", True)
    return None if plain else ("dot_product", grouped)


def _slimmed(
    config: LeanformerConfig, slot: str, name: str, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """Returns the mechanism with values made of keys, or None where there is no cache."""
    if slot == "encoder":
        return None
    row, shape = mechanism(name), config.shape()
    ties, groups = row.projection_class(options).ties(), row.kv_heads(shape, **options)
    if ties != "q,k,v":
        raise ValueError(
            f"--rewrite slim: {name} has no key and value apart from one another and from the query: rewrite a model "
            "of separate maps, or with --rewrite absorb first"
        )
    if groups < shape.num_heads or shape.inner_size != shape.hidden_size:
        size = f"{groups} x {shape.head_size} by {shape.hidden_size}"
        raise ValueError(f"--rewrite slim: the keys' map of {name} is {size}, and only a square one has an inverse")
    kept = {key: value for key, value in options.items() if key in options_of(row.compatibility)}
    return name, kept | {"projection": SLIM}


def _built(model: Any, new: Slots) -> Any:
    """A model with these mechanisms, and the source's values of all that is not rewritten."""
    config, settings = model.config, dict[str, Any]()
    slots = {"encoder": "attention", "cross": "cross_attention", "decoder": "decoder_attention"}
    if "encoder" not in _slots(model) and config.decoder_attention is None:
        slots["decoder"] = "attention"
    for slot, (name, options) in new.items():
        settings |= {slots[slot]: name, f"{slots[slot]}_options": options}
    if "encoder" in new and "decoder" in _slots(model) and "decoder" not in new and config.decoder_attention is None:
        settings |= {"decoder_attention": config.attention, "decoder_attention_options": config.attention_options}
    pooling = {"add_pooling_layer": model.pooler is not None} if isinstance(model, LeanformerModel) else {}
    target = type(model)(LeanformerConfig.from_dict(config.to_dict() | settings), **pooling)
    target = target.to(next(model.parameters()).dtype)
    rewritten = [name for name, (slot, _) in _attentions(model) if slot in new]
    skipped = tuple(f"{name}.{part}." for name in rewritten for part in ("projection", "compatibility"))
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(skipped)}
    target.load_state_dict(state, strict=False)
    return target


def _absorb(source: MultiHeadAttention, made: MultiHeadAttention) -> None:
    form = source.compatibility.bilinear_form()
    assert form is not None
    scale = source.shape.head_size**0.5
    queries = [each.mapped(scale * matrix.T) for each, matrix in zip(part_maps(source, "query"), form, strict=True)]
    _set(made.projection.query, queries)
    if isinstance(made.projection, QueryOnly):
        return
    step = source.shape.num_heads // made.mechanism.kv_heads(made.shape, **made.options)
    for part in ("key", "value"):
        _set(getattr(made.projection, part), part_maps(source, part)[::step])


def _set(linear: nn.Linear, heads: Sequence[Affine]) -> None:
    linear.weight.copy_(torch.cat([head.weight for head in heads]))
    if linear.bias is not None:
        linear.bias.copy_(torch.cat([head.bias for head in heads]))


def _slim(name: str, source: MultiHeadAttention, made: MultiHeadAttention, dtype: torch.dtype) -> float:
    """Makes the values of keys; returns the condition number of the keys' map."""
    condition = float(torch.linalg.cond(source.projection.key.weight.double()))
    error = condition * torch.finfo(dtype).eps
    if not error <= TOLERANCE:
        saved = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"--rewrite slim: the keys' map of {name} has condition number {condition:,.0f}, and values made of its "
            f"keys in {saved} would be off by about {error:.0e} of their size, more than {TOLERANCE:.0e}: "
            "leave out --rewrite, or save the model in a wider type"
        )
    made.compatibility.load_state_dict(source.compatibility.state_dict())
    own = {key: value for key, value in source.projection.state_dict().items() if not key.startswith("value.")}
    made.projection.load_state_dict(own, strict=False)
    value = source.projection.value
    bias = value.weight.new_zeros(len(value.weight)) if value.bias is None else value.bias
    cast(Any, made.projection).set_value(value.weight, bias)
    return condition


def difference(model: Any, target: Any) -> float:
    """The largest difference of what the two give for random tokens, relative to the largest output, in float32."""
    config, draw = model.config, torch.Generator().manual_seed(0)
    length = min(config.max_position_embeddings, 32)
    ids = torch.randint(config.vocab_size, (2, length), generator=draw)
    inputs: dict[str, Tensor] = {"input_ids": ids}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids.flip(0)
    with torch.no_grad():
        one, other = (each(**inputs)[0] for each in (model, target))
    return float((one - other).abs().max() / one.abs().max())

"""A trained model with another mechanism in its attention slots, each layer started from the old one's.

What the mechanism does not concern is copied: embeddings, feed-forward layers, norms, heads. Of the attention every
head is fitted by itself, by `fits`, by `rotary_fits` where positions are turned, by `tables` where nothing is compared.
Separate projections are copied, too, and the mechanism then starts as the dot product exactly.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from leanformer.attention import MultiHeadAttention, mechanism
from leanformer.attention.mechanisms.dot_product import DotProduct
from leanformer.attention.mechanisms.phased import Phased
from leanformer.attention.mechanisms.symmetric import Pairwise
from leanformer.attention.mixture import Mixture
from leanformer.conversion.attention import fits, rotary_fits
from leanformer.conversion.attention.fits import Problem, Start
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps, head_maps
from leanformer.conversion.attention.position_tables import add_nothing, look
from leanformer.conversion.attention.rotary_fits import RotaryProblem
from leanformer.conversion.attention.sample import Statistics, unknown
from leanformer.models import LeanformerDecoder, LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.config import LeanformerConfig
from leanformer.models.head_bank import PARTS
from leanformer.models.initialisation import initialise

RIDGE = 1e-4
"""Of the mean variance, added to each direction: what a sample does not show still counts a little."""


class Residual(NamedTuple):
    """Relative errors of a head: of its logits' form, and of what its values become; None where nothing was fitted."""

    layer: int
    head: int
    logits_residual: float | None
    value_residual: float | None


def reattend(
    model: Any, attention: str, options: dict[str, Any], statistics: list[Statistics] | None = None
) -> tuple[LeanformerPreTrainedModel, list[Residual]]:
    """The model, which stays as it is, with this mechanism, in float32; ValueError for what it cannot express."""
    target = _built(model, attention, options)
    residuals, rotary = [], target.config.positions == "rotary"
    olds, news = (list(each.base_model.layers) for each in (model, target))
    for number, (old, new) in enumerate(zip(olds, news, strict=True)):
        known = unknown(old.attention.shape.hidden_size) if statistics is None else statistics[number]
        for head, start in enumerate(_layer(old.attention, new.attention, known, rotary)):
            logits, value = (None, None) if start is None else (start.logits_residual, start.value_residual)
            residuals.append(Residual(number + 1, head + 1, logits, value))
    return target.eval(), residuals


def _built(model: Any, attention: str, options: dict[str, Any]) -> Any:
    if not isinstance(model.base_model, LeanformerModel) or any(
        isinstance(module, LeanformerDecoder) for module in model.modules()
    ):
        raise ValueError(f"{type(model).__name__} has a decoder: only encoders change their attention")
    if model.config.mixer != "attention":
        raise ValueError(
            f"model.mixer = {model.config.mixer!r}: no closed form is known for attention inside it; train it"
        )
    if mechanism(attention).rotary and model.config.positions != "rotary":
        raise ValueError(
            f"{attention} turns queries by their positions, and the model has learned ones: choose another"
        )
    settings = model.config.to_dict() | {"attention": attention, "attention_options": options, "shared_heads": None}
    config = LeanformerConfig.from_dict(settings)  # a fit of a head is that head's own: nothing stays shared
    pooling = {"add_pooling_layer": model.pooler is not None} if isinstance(model, LeanformerModel) else {}
    target = type(model)(config, **pooling)
    initialise(target, seed=0)
    slots = (".attention.projection.", ".attention.compatibility.")
    kept = {key: value for key, value in model.state_dict().items() if not any(slot in key for slot in slots)}
    target.load_state_dict(kept, strict=False)
    return target


@torch.no_grad()
def _layer(old: MultiHeadAttention, new: MultiHeadAttention, known: Statistics, rotary: bool) -> Sequence[Start | None]:
    parts = _parts(new)
    comparing = [part for part in parts if isinstance(part, DotProduct | Pairwise | Phased)]
    if len(comparing) > 1:
        raise ValueError(f"{new.mechanism.name} has two parts that compare: which should take the start is not said")
    if not comparing and len(parts) > 1 and not any(getattr(part, "position_tables", ()) for part in parts):
        raise ValueError(f"{new.mechanism.name} has no part with a closed form")
    if any(getattr(part, "compares", True) and part not in comparing for part in parts):
        raise ValueError(f"no closed form is known for {new.mechanism.name}: train it, or distil into it")
    heads = head_maps(old, compares=new.mechanism.compares)
    if not new.mechanism.compares:
        _tables(new, parts, known)
        name = PARTS[new.mechanism.options(new.options.get("projection"))["projection"]]["value"]
        _set(getattr(new.projection, name), [head.value for head in heads])
        if name == "shared":
            new.projection.value_scale.fill_(1.0)
        new.output.weight.copy_(torch.cat([head.output for head in heads], dim=1))
        return [None] * len(heads)
    for part in parts:
        if part is not comparing[0]:
            add_nothing(part)
    starts = _fitted(heads, new, comparing[0], known, rotary)
    _fill(new, comparing[0], starts)
    return starts


def _parts(layer: MultiHeadAttention) -> list[nn.Module]:
    if not isinstance(layer.compatibility, Mixture):
        return [layer.compatibility]
    if layer.compatibility.weights != "sum":
        raise ValueError(f"weights = {layer.compatibility.weights!r} starts with shares of every part: only 'sum' adds")
    return list(layer.compatibility.children())


def _tables(new: MultiHeadAttention, parts: list[nn.Module], known: Statistics) -> None:
    first = next((part for part in parts if getattr(part, "position_tables", ())), parts[0])
    look(first, new.mechanism.name, known.weights)
    for part in parts:
        if part is not first:
            add_nothing(part)


def _fitted(heads: list[HeadMaps], new: MultiHeadAttention, part: Any, known: Statistics, rotary: bool) -> list[Start]:
    shape, projection = new.shape, new.mechanism.options(new.options.get("projection"))["projection"]
    if shape.qk_norm:
        raise ValueError(f"{new.mechanism.name} with qk_norm divides by what it compares: no closed form")
    scale = getattr(part, "scale", shape.head_size**-0.5)
    if projection == "separate":
        return [_copied(head, scale) for head in heads]
    ridge = 0.0 if known.weights is None else RIDGE * float(known.second.diagonal().mean())
    second = known.second + ridge * torch.eye(shape.hidden_size, dtype=torch.float64)
    mean = known.mean if shape.bias else torch.zeros_like(known.mean)  # without biases nothing can be centred
    metric = second - torch.outer(mean, mean)
    kind = (projection, type(part).__name__)
    if not rotary:
        values = projection != "shared_query_key"
        return [fits.FITS[kind](Problem(head, mean, metric, scale, values)) for head in heads]
    border, one = known.mean[:, None], torch.ones(1, 1, dtype=torch.float64)
    bordered = torch.cat((torch.cat((second, border), 1), torch.cat((border.T, one), 1)))
    return [rotary_fits.FITS[kind](RotaryProblem(head, mean, metric, bordered, scale)) for head in heads]


def _copied(head: HeadMaps, scale: float) -> Start:
    assert head.query is not None and head.key is not None
    query = Affine(head.query.weight / scale, head.query.bias / scale)
    maps = {"query": query, "key": head.key, "value": head.value}
    return Start(maps, head.output, head.output.new_zeros(len(head.output)), 0.0)


def _fill(new: MultiHeadAttention, part: Any, starts: list[Start]) -> None:
    for name in starts[0].maps:
        _set(getattr(new.projection, name), [start.maps[name] for start in starts])
    if isinstance(part, Pairwise):
        part.coefficients.copy_(torch.eye(new.shape.head_size).expand_as(part.coefficients))
    if isinstance(part, Phased):
        part.phases.zero_()
        part.gains.fill_(1.0)
    for name in starts[0].extras:
        owner = part if hasattr(part, name) else new.projection
        parameter = getattr(owner, name)
        parameter.copy_(torch.stack([start.extras[name] for start in starts]).view_as(parameter))
    new.output.weight.copy_(torch.cat([start.output for start in starts], dim=1))
    if new.output.bias is not None:
        new.output.bias.add_(torch.stack([start.shift for start in starts]).sum(0))


def _set(linear: nn.Linear, heads: list[Affine]) -> None:
    linear.weight.copy_(torch.cat([head.weight for head in heads]))
    if linear.bias is not None:
        linear.bias.copy_(torch.cat([head.bias for head in heads]))

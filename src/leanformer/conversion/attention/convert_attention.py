"""A trained model with another mechanism in its attention slots, each layer started from the old one's.

What the mechanism does not concern is copied: embeddings, feed-forward layers, norms, heads. Of the attention every
head is fitted by itself, by `fits`, by `rotary_fits` where positions are rotated, by the class of the compatibility
where nothing is compared. Separate projections are copied, too, and the mechanism then starts as the dot product
exactly, if its form can be the identity and every head has a key and a value.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from leanformer.attention import Compatibility, MultiHeadAttention, mechanism
from leanformer.attention.options import options_of
from leanformer.conversion.attention import fits, rotary_fits
from leanformer.conversion.attention.condition import conditions
from leanformer.conversion.attention.fits import Start
from leanformer.conversion.attention.grouped_fits import Fitted, fit_groups
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps, head_maps
from leanformer.conversion.attention.lockstep import Comparison, lockstep
from leanformer.conversion.attention.moments import Moments
from leanformer.conversion.attention.sample import Sample
from leanformer.conversion.attention.statistics import Statistics
from leanformer.models import LeanformerDecoder, LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.config import LeanformerConfig
from leanformer.models.initialisation import initialise


class Residual(NamedTuple):
    """Relative errors of a head: of its logits' form, and of what its values become; and how far it is from cancelling
    (`condition`). None where nothing was fitted."""

    layer: int
    head: int
    logits_residual: float | None
    value_residual: float | None
    logits_condition: float | None
    value_condition: float | None


def convert_attention(
    model: Any, attention: str, options: dict[str, Any], statistics: list[Statistics] | None = None
) -> tuple[LeanformerPreTrainedModel, list[Residual]]:
    """The model, which stays as it is, with this mechanism, in float32; ValueError for what it cannot express.

    Each layer is fitted by itself, to these statistics of what it reads, or to its weights.
    """
    target, residuals = _built(model, attention, options), list[Residual]()
    olds, news = (list(each.base_model.layers) for each in (model, target))
    for number, (old, new) in enumerate(zip(olds, news, strict=True)):
        known = Statistics.unknown(old.attention.shape.hidden_size) if statistics is None else statistics[number]
        residuals += _layer(number, old.attention, new.attention, known, target.config.positions == "rotary")
    return target.eval(), residuals


def convert_on_text(
    model: Any, attention: str, options: dict[str, Any], sample: Sample
) -> tuple[LeanformerPreTrainedModel, list[Residual], Comparison]:
    """The same, with every layer fitted to what the converted layers below it give, and its output map fitted again to
    what the source's layer adds (`lockstep`)."""
    target, residuals = _built(model, attention, options).eval(), list[Residual]()

    def fit(number: int, old: MultiHeadAttention, new: MultiHeadAttention, known: Statistics) -> None:
        residuals.extend(_layer(number, old, new, known, target.config.positions == "rotary"))

    comparison = lockstep(model, target, sample, fit)
    return target, residuals, comparison


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
            f"{attention} rotates queries by their positions, and the model has learned ones: choose another"
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
def _layer(
    number: int, old: MultiHeadAttention, new: MultiHeadAttention, known: Statistics, rotary: bool
) -> list[Residual]:
    """Set the new layer's attention from the old one's."""
    parts, name = new.compatibility.summands(), new.mechanism.name
    comparing = [part for part in parts if part.family is not None]
    if len(comparing) > 1:
        raise ValueError(f"{name} has two parts that compare: which should take the start is not said")
    if not comparing and len(parts) > 1 and not any(part.reads_attention for part in parts):
        raise ValueError(f"{name} has no part with a closed form")
    if any(part.compares and part not in comparing for part in parts):
        raise ValueError(f"no closed form is known for {name}: train it, or distil into it")
    heads = head_maps(old, compares=new.mechanism.compares)
    if new.mechanism.compares:
        first = comparing[0]
    else:
        first = next((part for part in parts if part.reads_attention), parts[0])
        _read_attention(first, name, known.weights)
    others = [part for part in parts if part is not first]
    if new.mechanism.compares:
        others = _keep_tables(old, new, others)
    for part in others:
        part.zero_init()
    if new.mechanism.compares:
        moments = Moments.of(known, centred=new.shape.bias, rotary=rotary)
        starts = _fitted(heads, new, first, moments, rotary)
        _fill(new, starts)
        found = conditions(heads, new, first, moments)
        return [
            Residual(number + 1, head, start.logits_residual, start.value_residual, *found[head - 1])
            for head, start in enumerate(starts, 1)
        ]
    _set(getattr(new.projection, new.projection.parts["value"]), [head.value for head in heads])
    if (scale := new.projection.part_scale("value")) is not None:
        scale.fill_(1.0)
    new.output.weight.copy_(torch.cat([head.output for head in heads], dim=1))
    return [Residual(number + 1, head, None, None, None, None) for head in range(1, len(heads) + 1)]


def _keep_tables(old: MultiHeadAttention, new: MultiHeadAttention, parts: list[Compatibility]) -> list[Compatibility]:
    """Copies what the old scores add to their product, tables of positions say, and returns the parts that are left;
    ValueError if the new mechanism lacks one, or has it with other options."""

    def options(layer: MultiHeadAttention, kind: type[Compatibility]) -> dict[str, Any]:
        return {name: layer.options.get(name, default) for name, default in options_of(kind).items()}

    for added in old.compatibility.summands():
        kind = type(added)
        if added.compares:
            continue
        same = next((part for part in parts if type(part) is kind), None)
        if same is None or options(old, kind) != options(new, kind):
            part_name = next(name for name in old.mechanism.name.split("+") if mechanism(name).compatibility is kind)
            raise ValueError(
                f"{old.mechanism.name} adds {part_name} to its product, which {new.mechanism.name} lacks or has with "
                f"other options: convert to a sum with {part_name}, such as symmetric+{part_name}"
            )
        same.load_state_dict(added.state_dict())
        parts = [part for part in parts if part is not same]
    return parts


def _read_attention(part: Compatibility, name: str, weights_HLL: Tensor | None) -> None:
    if not part.reads_attention:
        raise ValueError(
            f"{name}: its scores are a network of one token, which no map of a trained model gives: "
            "convert to another mechanism, or distil into it"
        )
    if weights_HLL is None:
        raise ValueError(f"{name} starts from where the model looks: give a sample of text with --text")
    part.init_from_attention(weights_HLL)


def _fitted(
    heads: list[HeadMaps], new: MultiHeadAttention, part: Compatibility, moments: Moments, rotary: bool
) -> list[Start]:
    """A start for each head, and `part` with the form that goes with it."""
    shape, name = new.shape, new.mechanism.name
    if shape.qk_norm:
        raise ValueError(f"{name} with qk_norm divides by what it compares: no closed form")
    ties, groups = new.projection.ties(), new.mechanism.kv_heads(shape, **new.options)
    if groups < len(heads) and (ties == "q,kv" or (ties == "q,k,v" and moments.sampled)):
        return _carried(fit_groups(heads, groups, moments, tied=ties == "q,kv"), heads, new, part, moments)
    if ties == "q,k,v":
        return _carried(_pooled(new, heads), heads, new, part, moments)
    kind, table = (new.projection.ties(), str(part.family)), rotary_fits.FITS if rotary else fits.FITS
    if kind not in table:
        raise ValueError(f"no closed form is known for the projection of {name}: train it, or distil into it")
    scale = shape.head_size**-0.5
    if part.family == "scale":
        scale = float(cast(Tensor, part.bilinear_form())[0, 0, 0])
    starts = [table[kind](moments.problem(head, scale, values=kind[0] != "qk,v")) for head in heads]
    identity = torch.eye(shape.head_size, dtype=torch.float64)
    forms = torch.stack([identity if start.form is None else start.form for start in starts]) * scale
    return _with_forms(heads, starts, part, forms, new, moments)


def _with_forms(
    heads: list[HeadMaps],
    starts: list[Start],
    part: Compatibility,
    forms_HKK: Tensor,
    new: MultiHeadAttention,
    moments: Moments,
) -> list[Start]:
    """The starts, after `part` took the forms: where it cannot express one, the residual is of what it took."""
    part.set_bilinear_form(forms_HKK)
    taken_HKK = cast(Tensor, part.bilinear_form())
    if float((taken_HKK - forms_HKK).abs().max()) <= 1e-5 * float(forms_HKK.abs().max()):
        return starts
    for head, start, taken in zip(heads, starts, taken_HKK, strict=True):
        query = start.maps["query"]
        key = start.maps.get("key", query)
        start.logits_residual = moments.logits_error(head, head._replace(query=query.mapped(taken.T), key=key))
    return starts


def _carried(
    fitted: list[Fitted], heads: list[HeadMaps], new: MultiHeadAttention, part: Compatibility, moments: Moments
) -> list[Start]:
    """Starts from maps that are those of the heads, or their groups'; the query takes up what stands between."""
    identity = torch.eye(new.shape.head_size, dtype=torch.float64)
    part.set_bilinear_form(identity.expand(len(heads), -1, -1) * new.shape.head_size**-0.5)
    starts = []
    for old, (head, shift), form in zip(heads, fitted, cast(Tensor, part.bilinear_form()), strict=True):
        assert head.query is not None and head.key is not None
        scaled = torch.equal(form, form[0, 0] * identity)
        if scaled:
            query = Affine(head.query.weight / form[0, 0], head.query.bias / form[0, 0])
        else:
            query = head.query.mapped(torch.linalg.pinv(form).T)
        start = Start({"query": query, "key": head.key, "value": head.value}, head.output, shift, 0.0)
        if not scaled or head is not old:
            now = head._replace(query=query.mapped(form.T))
            start.logits_residual = moments.logits_error(old, now)
            start.value_residual = fits.value_error(old, now, moments.metric)
        starts.append(start)
    return starts


def _pooled(new: MultiHeadAttention, heads: list[HeadMaps]) -> list[Fitted]:
    """The heads, with the projection's means of keys and values where it has fewer of them."""
    unmoved = torch.zeros(len(heads[0].output), dtype=torch.float64)
    if new.mechanism.kv_heads(new.shape, **new.options) == len(heads):
        return [Fitted(head, unmoved) for head in heads]
    means = {}
    for part in ("key", "value"):
        maps = [getattr(head, part) for head in heads]
        weight, bias = (new.projection.pooled(part, torch.stack(each)) for each in zip(*maps, strict=True))
        repeats = len(heads) // len(weight)
        means[part] = [Affine(weight[h // repeats], bias[h // repeats]) for h in range(len(heads))]
    pairs = zip(heads, means["key"], means["value"], strict=True)
    return [Fitted(head._replace(key=key, value=value), unmoved) for head, key, value in pairs]


def _fill(new: MultiHeadAttention, starts: list[Start]) -> None:
    for part in starts[0].maps:
        linear = getattr(new.projection, new.projection.parts[part])
        heads = linear.weight.shape[0] // new.shape.head_size
        _set(linear, [start.maps[part] for start in starts[:: len(starts) // heads]])
    for name in starts[0].extras:
        parameter = getattr(new.projection, name)
        parameter.copy_(torch.stack([start.extras[name] for start in starts]).view_as(parameter))
    new.output.weight.copy_(torch.cat([start.output for start in starts], dim=1))
    if new.output.bias is not None:
        new.output.bias.add_(torch.stack([start.shift for start in starts]).sum(0))


def _set(linear: nn.Linear, heads: list[Affine]) -> None:
    linear.weight.copy_(torch.cat([head.weight for head in heads]))
    if linear.bias is not None:
        linear.bias.copy_(torch.cat([head.bias for head in heads]))

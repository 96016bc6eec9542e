"""A model with another attention, or with shared heads or layers, and what of the source that keeps.

Without a text the fits are those of the weights; with one they are those of real hidden states, and the loss and the
attention weights are compared on it.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import leanformer.models as models
from leanformer.conversion.attention.convert_attention import Residual, convert_attention, convert_on_text
from leanformer.conversion.attention.head_sharing import match_heads, share_heads, stored_blocks
from leanformer.conversion.attention.lockstep import Comparison, lockstep
from leanformer.conversion.attention.sample import Sample
from leanformer.conversion.checkpoints.placing import Checkpoint
from leanformer.conversion.checkpoints.tokenizer import read_tokenizer
from leanformer.conversion.layer_sharing import share_layers
from leanformer.conversion.rewriting import difference, rewrite
from leanformer.evaluation import pretrained
from leanformer.models.layer_sharing import NONE
from leanformer.models.saved import record_of

COLUMNS: dict[str, Callable[[list[float]], float]] = {
    "logits_residual": mean,
    "value_residual": mean,
    "logits_condition": max,
    "value_condition": max,
}
"""What a layer's row of the report makes of its heads."""


def change(
    found: Checkpoint,
    folder: Path,
    wanted: tuple[str, dict[str, Any]] | None,
    text: str | Path | None,
    share: float,
    tie: str,
    sharing: str | None = None,
    start: str = "mean",
) -> tuple[Checkpoint, dict[str, Any]]:
    """The model of the checkpoint in `folder` with the mechanism and the options that are `wanted`, its own if None,
    this `share` of its heads tied, and then this `sharing` of layers; and what conversion.json says of that."""
    model = _model(found)
    sample = None if text is None else _sample(text, folder, found)
    converted, residuals, counts = model, list[Residual](), dict[str, Any]()
    if (wanted is not None or share) and model.config.layer_sharing != NONE:
        raise ValueError(
            f"the layers share (layer_sharing = {model.config.layer_sharing!r}), and each layer is converted by "
            f"itself: convert with --share-layers {NONE} first"
        )
    comparison: Comparison | None = None
    if wanted is not None and sample is not None:
        converted, residuals, comparison = convert_on_text(model, *wanted, sample)
    elif wanted is not None:
        converted, residuals = convert_attention(model, *wanted)
    if share:
        converted, counts = _shared(converted, share, tie)
    if sharing is not None:
        converted, comparison = share_layers(converted, sharing, start), None
        counts |= {"layer_sharing": sharing} | ({} if sharing == NONE else {"share_start": start})
    layered = all(each.config.layer_sharing == NONE for each in (model, converted))  # one module is one layer
    if sample is not None and layered and (share or comparison is None):
        comparison = lockstep(model, converted, sample)
    tensors = _tensors(converted, next(iter(found.tensors.values())).dtype)
    changed = found._replace(config=converted.config, tensors=tensors)
    return changed, counts | _measured(model, converted, residuals, sample, comparison)


def change_maps(found: Checkpoint, rewriting: str) -> tuple[Checkpoint, dict[str, Any]]:
    """The model of the checkpoint with other maps and the same outputs, and what conversion.json says of that."""
    dtype = next(iter(found.tensors.values())).dtype
    model = _model(found)
    rewritten, slim = rewrite(model, rewriting, dtype)
    result: dict[str, Any] = {"rewrite": rewriting, "difference": difference(model, rewritten)}
    result |= {"parameters_before": model.num_parameters(), "parameters_after": rewritten.num_parameters()}
    if slim:
        result["condition"] = max(each.condition for each in slim)
        result["conditions"] = [each._asdict() for each in slim]
    return found._replace(config=rewritten.config, tensors=_tensors(rewritten, dtype)), result


def _model(found: Checkpoint) -> Any:
    """Returns the checkpoint as a model in float32, for evaluation."""
    kind = getattr(models, (found.config.architectures or [""])[0])
    pooled = any("pooler." in key for key in found.tensors)
    options = {"add_pooling_layer": pooled} if kind is models.LeanformerModel else {}
    model = kind(found.config, **options)
    model.load_state_dict({key: tensor.float() for key, tensor in found.tensors.items()}, strict=False)
    model.tie_weights()
    return model.eval()


def _sample(text: str | Path, folder: Path, found: Checkpoint) -> Sample:
    """Returns a sample in sequences as long as those of its training, if a run says so, else as long as it reads."""
    words = read_tokenizer(folder, found.tokenizer_class, text)
    packed = "MaskedLM" in (found.config.architectures or [""])[0]
    sample = Sample(text, words, pretrained.length_of(record_of(folder), found.config), packed)
    if sample.corpus is not None and Path(text).is_dir():
        pretrained.require_tokenizer(sample.corpus, words, folder)
    return sample


def _shared(model: Any, share: float, tie: str) -> tuple[Any, dict[str, Any]]:
    """The model with shared heads, and which: layers and heads counted from one."""
    pairs = match_heads(model)
    shared = share_heads(model, share, tie, pairs)
    heads = model.config.num_hidden_layers * model.config.num_attention_heads
    stored = stored_blocks(shared)
    rows = [
        {
            "layer": layer + 1,
            "head": head + 1,
            "partner_layer": other + 1,
            "partner_head": partner + 1,
            "cosine": cosine,
        }
        for layer, head, other, partner, cosine in pairs[: heads - stored]
    ]
    return shared, {"tie": tie, "head_blocks": heads, "stored_blocks": stored, "pairs": rows}


def _tensors(model: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    tied = model.all_tied_weights_keys
    return {key: tensor.detach().to(dtype) for key, tensor in model.state_dict().items() if key not in tied}


def _measured(
    model: Any, converted: Any, residuals: list[Residual], sample: Sample | None, comparison: Comparison | None
) -> dict[str, Any]:
    """Parameters, loss or vectors, and attention before and after; of every layer, and of every head."""
    before, after = model.num_parameters(), converted.num_parameters()
    result: dict[str, Any] = {"parameters_before": before, "parameters_after": after}
    if sample is not None:
        result["sequence_length"] = sample.length
        loss = sample.loss(model)
        if loss is not None:
            result |= {"loss_before": loss, "loss_after": sample.loss(converted)}
        elif comparison is not None:
            vectors = comparison.vectors
            result |= {"texts": len(vectors.before), "vectors_cosine": vectors.cosine()}
            result |= {"vectors_spearman": vectors.spearman()}
    if any(residual.logits_residual is not None for residual in residuals):
        result["residuals_of"] = "weights" if sample is None else "logits on the text"
    if not residuals and sample is None:
        return result
    layers = []
    for number in range(1, model.config.num_hidden_layers + 1):
        heads = [residual for residual in residuals if residual.layer == number]
        row: dict[str, Any] = {"layer": number}
        for key, summary in COLUMNS.items():
            values = [value for head in heads if (value := getattr(head, key)) is not None]
            row[key] = summary(values) if values else None
        row["divergence"] = None if comparison is None else comparison.divergence[number - 1]
        layers.append(row)
    return result | {"layers": layers, "heads": [residual._asdict() for residual in residuals]}

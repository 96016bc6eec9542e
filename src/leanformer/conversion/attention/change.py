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
from leanformer.evaluation.similarity import agreement
from leanformer.models.layer_sharing import NONE
from leanformer.models.saved import record_of
from leanformer.models.sentence_parts import SentenceParts

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
    attention: tuple[str, dict[str, Any]] | None,
    text: str | Path | None,
    share: float,
    tie: str,
    sharing: str | None = None,
    start: str = "mean",
    parts: SentenceParts | None = None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """The model of the checkpoint in `folder` with this `attention`, a mechanism and its options, its own if None,
    this `share` of its heads tied, and then this `sharing` of layers; and what conversion.json says of that. `parts`
    say how the model reads the text."""
    model = _model(found)
    stored = model.num_parameters()
    if sharing == NONE:  # first, since each layer is converted by itself
        model = share_layers(model, NONE)
    sample = None if text is None else _sample(text, folder, found, parts)
    converted, residuals, counts = model, list[Residual](), dict[str, Any]()
    if (attention is not None or share) and model.config.layer_sharing != NONE:
        raise ValueError(
            f"the layers share (layer_sharing = {model.config.layer_sharing!r}), and each layer is converted by "
            f"itself: add --share-layers {NONE}, which gives each a copy"
        )
    comparison: Comparison | None = None
    if attention is not None and sample is not None:
        converted, residuals, comparison = convert_on_text(model, *attention, sample)
    elif attention is not None:
        converted, residuals = convert_attention(model, *attention)
    if share:
        converted, counts = _shared(converted, share, tie)
    if sharing == NONE:
        counts |= {"layer_sharing": NONE}
    elif sharing is not None:
        converted, comparison = share_layers(converted, sharing, start), None
        counts |= {"layer_sharing": sharing, "share_start": start}
    layered = all(each.config.layer_sharing == NONE for each in (model, converted))  # one module is one layer
    if sample is not None and layered and (share or comparison is None):
        comparison = lockstep(model, converted, sample)
    tensors = _tensors(converted, next(iter(found.tensors.values())).dtype)
    changed = found._replace(config=converted.config, tensors=tensors)
    counts |= {"parameters_before": stored, "parameters_after": converted.num_parameters()}
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


def _sample(text: str | Path, folder: Path, found: Checkpoint, parts: SentenceParts | None) -> Sample:
    """Returns a sample in sequences as long as those of its training, if a run says so, else as long as it reads."""
    words = read_tokenizer(folder, found.tokenizer_class, text)
    packed = "MaskedLM" in (found.config.architectures or [""])[0]
    sample = Sample(
        text, words, pretrained.length_of(record_of(folder), found.config), packed, parts, found.config.hidden_size
    )
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
    """Loss or vectors, and attention before and after; of every layer, and of every head."""
    result: dict[str, Any] = {}
    if sample is not None:
        result["sequence_length"] = sample.length
        loss = sample.loss(model)
        if loss is not None:
            result |= {"loss_before": loss, "loss_after": sample.loss(converted)}
        elif comparison is not None:
            found = agreement(comparison.target_vectors.numpy(), comparison.source_vectors.numpy())
            result |= {"texts": len(comparison.source_vectors), "vectors_cosine": found["cosine"]}
            result |= {"vectors_spearman": found.get("similarities")}
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

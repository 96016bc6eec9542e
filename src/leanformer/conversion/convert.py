"""A trained model in, a leanformer model out (or a BERT again), with another attention or with shared heads if asked.

Without either the outputs are equal. With them the start is the best that is known in closed form, and
`DST/conversion.json` says how far from the source that is.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import leanformer.models as models
from leanformer.attention import mechanism
from leanformer.conversion.attention.convert_attention import Residual, convert_attention
from leanformer.conversion.attention.head_sharing import match_heads, share_heads, stored_blocks
from leanformer.conversion.attention.sample import Sample
from leanformer.conversion.checkpoints import files
from leanformer.conversion.checkpoints.placing import read_as
from leanformer.conversion.checkpoints.reading import Checkpoint, read
from leanformer.conversion.checkpoints.source import fetch
from leanformer.conversion.checkpoints.to_bert import to_bert
from leanformer.data import tokenizer_files
from leanformer.evaluation import pretrained
from leanformer.models.config import LeanformerConfig
from leanformer.training.run import saved_model


def convert(
    source: str | Path,
    target: str | Path,
    to: str = "leanformer",
    *,
    attention: str | None = None,
    options: dict[str, Any] | None = None,
    mixer_options: dict[str, Any] | None = None,
    text: str | Path | None = None,
    share: float = 0.0,
    tie: str = "qk",
    encoder_only: bool = False,
    ignore_remote_code: bool = False,
) -> dict[str, Any]:
    """Write the model in `source` to the new directory `target`, and say what became of it.

    `attention` with its `options` is the mechanism to convert to, the source's own if None; a sample of `text` makes
    the fits those of real hidden states, and measures what was lost. Then this `share` of the heads takes the maps of
    others: query and key, or what `tie` says (`head_sharing`). `mixer_options` change what no weight depends on, which
    is `mask_conv` alone: outputs are the source's where nothing is padded.
    """
    target = Path(target)
    if to not in ("leanformer", "bert"):
        raise ValueError(f"cannot convert to {to!r}: 'leanformer' and 'bert' are known")
    if to == "bert" and (attention or text or share):
        raise ValueError("--to bert writes what the model is: convert its attention in a step of its own")
    if options and attention is None:
        raise ValueError("options without a mechanism: name it with --attention")
    if attention is not None:
        mechanism(attention).check_options(options or {})
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists already: name a new directory")
    directory = fetch(source)
    saved_model.require_intact(directory)
    found = read(directory, encoder_only=encoder_only, ignore_remote_code=ignore_remote_code)
    if mixer_options:
        found = found._replace(config=_mixed(found.config, mixer_options, directory))
    if to == "bert":
        if found.family != LeanformerConfig.model_type:
            raise ValueError(f"{directory / 'config.json'}: model_type is {found.family!r}, expected 'leanformer'")
        bert, renamed, notes = to_bert(found.config, found.tensors, directory)
        files.write(bert, renamed, target, tokenizer=directory, tokenizer_class=found.tokenizer_class)
        return {"source": str(source), "target": str(target), "notes": found.notes + notes}
    own = (found.config.attention, found.config.attention_options)
    wanted = own if attention is None else (attention, options or {})
    result: dict[str, Any] = {
        "source": str(source),
        "target": str(target),
        "source_sha256": _hash(directory),
        "from": found.family,
        "attention": wanted[0],
    }
    result |= {"attention_options": wanted[1], "notes": found.notes}
    result |= {"mixer_options": mixer_options} if mixer_options else {}
    config, tensors = found.config, found.tensors
    if wanted != own or text is not None or share:
        model = _model(found)
        sample = None if text is None else _sample(text, directory, found)
        converted, residuals = model, list[Residual]()
        if wanted != own:
            statistics = None if sample is None else sample.statistics(model)
            converted, residuals = convert_attention(model, *wanted, statistics)
        if share:
            converted, counts = _shared(converted, share, tie)
            result |= counts
        result |= _measured(model, converted, residuals, sample)
        config, tensors = converted.config, _tensors(converted, next(iter(found.tensors.values())).dtype)
    files.write(
        config,
        tensors,
        target,
        tokenizer=directory,
        tokenizer_class=found.tokenizer_class,
        files={saved_model.CONVERSION: json.dumps(result, indent=2) + "\n"},
    )
    return result


def _hash(directory: Path) -> str | None:
    """Of the source's weights, as runs know a model by; of those in several files there is none."""
    return saved_model.weights_hash(directory) if (directory / saved_model.WEIGHTS).is_file() else None


def _mixed(config: LeanformerConfig, options: dict[str, Any], directory: Path) -> LeanformerConfig:
    for key, value in options.items():
        if key != "mask_conv":
            raise ValueError(f"mixer_options.{key} = {value!r}: leave it out, a conversion changes mask_conv alone")
    return read_as(LeanformerConfig, config.to_dict() | {"mixer_options": config.mixer_options | options}, directory)


def _model(found: Checkpoint) -> Any:
    """In float32, ready to be asked."""
    kind = getattr(models, (found.config.architectures or [""])[0])
    pooled = any("pooler." in key for key in found.tensors)
    options = {"add_pooling_layer": pooled} if kind is models.LeanformerModel else {}
    model = kind(found.config, **options)
    model.load_state_dict({key: tensor.float() for key, tensor in found.tensors.items()}, strict=False)
    model.tie_weights()
    return model.eval()


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


def _sample(text: str | Path, directory: Path, found: Checkpoint) -> Sample:
    """In sequences as long as the model was trained with, if its run says so, else as long as it reads."""
    with tempfile.TemporaryDirectory() as folder, saved_model.quiet():
        if not files.copy_tokenizer(directory, Path(folder), found.tokenizer_class):
            raise ValueError(f"{directory} holds no tokenizer to read {text} with: copy the model's own there")
        tokenizer = tokenizer_files.load(folder)
    run = directory.parent if directory.name == "model" else directory
    trained = found.family == LeanformerConfig.model_type and (run / "run.json").is_file()
    length = pretrained.length(run) if trained else found.config.max_position_embeddings
    sample = Sample(text, tokenizer, length)
    if Path(text).is_dir():
        pretrained.require_tokenizer(sample.corpus, tokenizer, directory)
    return sample


def _measured(model: Any, converted: Any, residuals: list[Residual], sample: Sample | None) -> dict[str, Any]:
    """Parameters, loss and attention before and after; of every layer, and of every head."""
    before, after = model.num_parameters(), converted.num_parameters()
    result: dict[str, Any] = {"parameters_before": before, "parameters_after": after}
    divergence: list[float] | None = None
    if sample is not None:
        result |= {"sequence_length": sample.length, "loss_before": sample.loss(model)}
        result |= {"loss_after": sample.loss(converted)}
        divergence = sample.divergence(model, converted)
    if any(residual.logits_residual is not None for residual in residuals):
        result["residuals_of"] = "weights" if sample is None else "logits on the text"
    if not residuals and sample is None:
        return result
    layers = []
    for number in range(1, model.config.num_hidden_layers + 1):
        heads = [residual for residual in residuals if residual.layer == number]
        row: dict[str, Any] = {"layer": number}
        for key in ("logits_residual", "value_residual"):
            values = [value for head in heads if (value := getattr(head, key)) is not None]
            row[key] = sum(values) / len(values) if values else None
        layers.append(row | {"divergence": None if divergence is None else divergence[number - 1]})
    return result | {"layers": layers, "heads": [residual._asdict() for residual in residuals]}

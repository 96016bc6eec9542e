"""A trained model in, a leanformer model out (or a BERT again), with another attention or with shared heads if asked.

Without either the outputs are equal. With them the start is the best that is known in closed form, and
`DST/conversion.json` says how far from the source that is.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

from leanformer import files
from leanformer.attention import mechanism
from leanformer.conversion.attention.change import change, change_maps
from leanformer.conversion.checkpoints.layers import keep_layers
from leanformer.conversion.checkpoints.placing import place
from leanformer.conversion.checkpoints.reading import read
from leanformer.conversion.checkpoints.source import fetch
from leanformer.conversion.checkpoints.to_bert import to_bert
from leanformer.conversion.checkpoints.tokenizer import check_tokenizer, copy_tokenizer, tokenizer_notes
from leanformer.data import tokenizer_files
from leanformer.models.config import LeanformerConfig
from leanformer.models.saved import CONVERSION, WEIGHTS, read_as
from leanformer.models.sentence_parts import MODULES, sentence_parts

HEADS = "other_heads.safetensors"
"""Beside a converted model: heads of the source that have no place in it."""


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
    sharing: str | None = None,
    start: str = "mean",
    layers: Sequence[int] | None = None,
    encoder_only: bool = False,
    keep_heads: bool = False,
    ignore_remote_code: bool = False,
    rewriting: str | None = None,
) -> dict[str, Any]:
    """Write the model in `source` to the new directory `target`, and say what became of it.

    `attention` with its `options` is the mechanism to convert to, the source's own if None; a sample of `text` makes
    the fits those of real hidden states, and measures what was lost. Then this `share` of the heads takes the maps of
    others: query and key, or what `tie` says (`head_sharing`), and layers share what `sharing` says, started by `start`
    (`layer_sharing`). `mixer_options` change what no weight depends on, which is `mask_conv` alone: outputs are the
    source's where nothing is padded. Of `layers`, counted from 1, the model keeps these alone. `keep_heads` writes
    heads that have no place in the model to a file beside it. `rewriting` is one of `rewriting.REWRITINGS`, by itself.
    """
    target = Path(target)
    if to not in ("leanformer", "bert"):
        raise ValueError(f"cannot convert to {to!r}: 'leanformer' and 'bert' are known")
    if to == "bert" and (attention or text or share or sharing or layers):
        raise ValueError("--to bert writes what the model is: convert its attention in a step of its own")
    if rewriting is not None and (to == "bert" or attention or text or share or sharing or layers or mixer_options):
        raise ValueError("--rewrite changes the maps and not the outputs: convert in a step of its own")
    if to == "bert" and keep_heads:
        raise ValueError("--keep-heads is for a conversion to leanformer: leave it out")
    if options and attention is None:
        raise ValueError("options without a mechanism: name it with --attention")
    if attention is not None:
        mechanism(attention).check_options(options or {})
    if not files.is_free(target):
        raise FileExistsError(f"{target} exists already: name a new directory")

    folder = fetch(source)
    stored = read(folder, ignore_remote_code=ignore_remote_code)
    found = place(stored, encoder_only=encoder_only)
    check_tokenizer(folder, found.config.vocab_size, found.tokenizer_class)
    if layers is not None:
        found = keep_layers(found, layers)
    parts = None if encoder_only else sentence_parts(folder)
    notes = tokenizer_notes(folder, found.tokenizer_class, text)
    if encoder_only and (folder / MODULES).is_file():
        notes.append(f"left behind: the parts of sentence-transformers ({MODULES})")
    if keep_heads and not found.left:
        notes.append(f"nothing was left behind, so --keep-heads wrote no {HEADS}")
    elif keep_heads:
        notes.append(f"{HEADS} holds what was left behind, under its old names")
    found = found._replace(notes=found.notes + notes)
    if mixer_options:
        found = found._replace(config=_mixed(found.config, mixer_options, folder))
    result: dict[str, Any] = {"source": str(source), "target": str(target)}
    config: PreTrainedConfig
    if to == "bert":
        config, tensors, notes = to_bert(found, folder)
        result |= {"notes": notes}
    else:
        own = (found.config.attention, found.config.attention_options)
        chosen = own if attention is None else (attention, options or {})
        result |= {"source_sha256": stored.sha256, "from": found.family}
        result |= {"attention": chosen[0], "attention_options": chosen[1], "notes": found.notes}
        result |= {"mixer_options": mixer_options} if mixer_options else {}
        if chosen != own or text is not None or share or sharing is not None:
            changed = None if chosen == own else chosen
            found, changes = change(found, folder, changed, text, share, tie, sharing, start, parts)
            result |= changes
        elif rewriting is not None:
            found, changes = change_maps(found, rewriting)
            result |= changes | {"attention": found.config.attention}
            result |= {"attention_options": found.config.attention_options}
        config, tensors = found.config, found.tensors

    with files.new_directory(target, replace=False) as made:
        config.save_pretrained(made)
        _save(tensors, made / WEIGHTS)
        if keep_heads and found.left:
            _save(found.left, made / HEADS)
        if parts is not None:
            parts.copy(made, config.max_position_embeddings)
        if copy_tokenizer(folder, made, found.tokenizer_class):
            tokenizer_files.match_model(made)
        if to == "leanformer":
            (made / CONVERSION).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        files.write_sums(made)
    return result


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, {"format": "pt"})


def _mixed(config: LeanformerConfig, options: dict[str, Any], folder: Path) -> LeanformerConfig:
    for key, value in options.items():
        if key != "mask_conv":
            raise ValueError(f"mixer_options.{key} = {value!r}: leave it out, a conversion changes mask_conv alone")
    return read_as(LeanformerConfig, config.to_dict() | {"mixer_options": config.mixer_options | options}, folder)

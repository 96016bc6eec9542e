"""`leanformer.convert`: reads a trained model of any known family, and exchanges its attention."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.conversion.convert import convert as convert_checkpoint
from leanformer.interface.model import Model


def convert(
    source: Any,
    *,
    out: str | Path,
    attention: str | None = None,
    attention_options: dict[str, Any] | None = None,
    mixer_options: dict[str, Any] | None = None,
    text: Any = None,
    share_heads: float = 0.0,
    tie: str = "qk",
    share_layers: str | None = None,
    share_start: str = "mean",
    keep_layers: Sequence[int] | None = None,
    rewrite: str | None = None,
    to: str = "leanformer",
    encoder_only: bool = False,
    keep_heads: bool = False,
    ignore_remote_code: bool = False,
    plugin: str | Path | None = None,
) -> Model:
    """Write the model of `source` to the new directory `out`; returns it.

    source          a run, a saved model, or its name on the hub
    attention       the mechanism to convert to, with its `attention_options`; by default the source's own
    text            a text or a data directory, on which the conversion is fitted and measured
    share_heads     the fraction of heads that use the maps of other heads; `tie` names these maps: qk, qkv or qkvo
    share_layers    what layers share, a value of `model.layer_sharing`; `share_start`, "mean" or "first", is what they
                    start from: the mean of the layers that become one, or the first of them
    keep_layers     the layers that the model keeps, counted from 1: [2, 4, 6]
    rewrite         other maps and the same outputs: "absorb" puts coefficients and diagonals into the maps, "slim"
                    makes a decoder's values of its keys, which halves its cache
    to              "leanformer", or "bert" for Hugging Face's BERT
    encoder_only    leave out the head, and the parts of sentence-transformers
    keep_heads      write heads that leanformer does not have to other_heads.safetensors beside the model
    ignore_remote_code      read only the tensors of a checkpoint that comes with its own code

    The record of the model says what became of it. Without another attention, shared heads and shared layers its
    outputs are equal.
    """
    load_plugin(plugin)
    record = convert_checkpoint(
        os.fspath(source),
        out,
        to,
        attention=attention,
        options=attention_options or {},
        mixer_options=mixer_options or {},
        text=None if text is None else os.fspath(text),
        share=share_heads,
        tie=tie,
        sharing=share_layers,
        start=share_start,
        layers=keep_layers,
        rewriting=rewrite,
        encoder_only=encoder_only,
        keep_heads=keep_heads,
        ignore_remote_code=ignore_remote_code,
    )
    return Model(out, record)

"""`leanformer attention`: a page to look at the attention of one model, or of two side by side, on a sentence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from leanformer.evaluation import pretrained
from leanformer.evaluation.probes.attention_maps import attention_maps, require_one_text, statistics
from leanformer.evaluation.probes.likelihood import encode
from leanformer.report.attention_page import Panel, page
from leanformer.training import durable


def attention_page(runs: Sequence[Path], text: str, out: Path) -> None:
    """Write it to `out`, one file. ValueError for a text that a model cannot read."""
    panels = [panel(run, text) for run in runs]
    out.parent.mkdir(parents=True, exist_ok=True)
    durable.write_text(out, page(text, panels))


def panel(run: Path, text: str) -> Panel:
    """Of the model of a run, or of any saved model."""
    folder = pretrained.locate(run)
    kind, config = pretrained.objective(folder), pretrained.config_of(folder)
    require_one_text(kind, folder)
    tokenizer = pretrained.load_tokenizer(folder)
    (sentence,) = encode(tokenizer, [text], config.max_position_embeddings)
    model = pretrained.load(folder, kind).eval()
    maps = attention_maps(model, torch.tensor([sentence.ids]))
    special = torch.tensor([[token in tokenizer.all_special_ids for token in sentence.ids]])
    facts = [{name: value[0].tolist() for name, value in statistics(*layer, special).items()} for layer in maps]
    return Panel(
        title=config.attention,
        source=str(run),
        tokens=list(tokenizer.convert_ids_to_tokens(sentence.ids)),
        weights=np.stack([layer.weights_BHLL[0].numpy() for layer in maps]),
        facts=facts,
    )

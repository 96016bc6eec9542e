"""`leanformer attention`: a page that shows the attention of models on a sentence, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from leanformer import files
from leanformer.data.corpus import Corpus
from leanformer.evaluation import pretrained
from leanformer.evaluation.probes.attention_maps import attention_maps, require_one_text, statistics
from leanformer.evaluation.probes.likelihood import encode
from leanformer.models import saved
from leanformer.reporting.records.study import ATTENTION_PAGE, read_study
from leanformer.reporting.render.attention_page import Panel, page
from leanformer.reporting.write import write_report
from leanformer.training.run.record import RunDirectory

TOKENS = 24
"""The number of tokens of a validation text, as many as a map shows well."""


def attention_page(runs: Sequence[Path], text: str, out: Path) -> None:
    """Write the page to the file `out`; raises ValueError for a text that a model cannot read."""
    panels = [panel(run, text) for run in runs]
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, page(text, panels))


def comparison_page(directory: Path, text: str | None, out: Path | None) -> Path:
    """Write the page of one finished run per mechanism of a comparison; returns its path.

    The comparison's report links to the page in its own folder. The default `text` is the beginning of a document of
    the validation text.
    """
    study = read_study(directory)
    runs = [
        directory / min(study.at(name), key=lambda run: run.seed).path for name in study.attention if study.at(name)
    ]
    if not runs:
        raise ValueError(f"{directory}: no run is finished yet: go on with leanformer compare --resume")
    page = out or directory / ATTENTION_PAGE
    attention_page(runs, text or _beginning(runs[0]), page)
    if out is None:
        write_report(directory)
    return page


def _beginning(run: Path) -> str:
    """Returns whole words from the first `TOKENS` tokens of the first validation document that has so many.

    A split may have cut the document, so the first word may be incomplete.
    """
    place = Path(RunDirectory(run).read()["data"]["path"])
    try:
        corpus = Corpus.open(place)
    except (ValueError, OSError) as error:
        raise ValueError(f"the validation text cannot be read ({error}): give a sentence with --text") from None
    starts = np.append(corpus.valid.documents, len(corpus.valid))
    long = np.flatnonzero(np.diff(starts) >= TOKENS)
    if not long.size:
        raise ValueError(f"{place} has no validation document of {TOKENS} tokens: give a sentence with --text")
    ids = corpus.valid.tokens[starts[long[0]] :][:TOKENS].tolist()
    tokenizer = pretrained.load_tokenizer(saved.locate(run))
    words = str(tokenizer.decode(ids, skip_special_tokens=True)).split()
    return " ".join(words[1:-1] or words)


def panel(run: Path, text: str) -> Panel:
    """Returns the panel of the model of a run, or of any saved model."""
    folder = saved.locate(run)
    kind, config = pretrained.objective(folder), saved.config_of(folder)
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

"""One vector per text: the functions behind `leanformer embed`.

A model with the parts of sentence-transformers is used as these say: prompt, length, pooling, and what follows it. Any
other gives a pooling of its last states (`models/sentence_pooling.py`), the mean unless another one is asked for: a
model that was only pre-trained has no use for its [CLS] state, and `mean` is the better start (Reimers and Gurevych,
2019, table 6). B batch, L length, D model width.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from leanformer import files
from leanformer.data.buckets import evaluation_batches
from leanformer.data.examples import Examples
from leanformer.data.readers import Source
from leanformer.data.rows import rows
from leanformer.data.tables import as_text
from leanformer.evaluation import pretrained
from leanformer.evaluation.inputs.encoding import Encoded, encode
from leanformer.evaluation.prediction import BATCH_SIZE
from leanformer.models import LeanformerModel, saved
from leanformer.models.sentence_parts import SentenceParts, sentence_parts
from leanformer.models.sentence_pooling import POOL, SentencePooling, sentence_pooling
from leanformer.spelling import suggest

FORMATS = (".npy", ".safetensors", ".jsonl")


@dataclass(frozen=True)
class Vectors:
    """The vectors (N, E) of N texts in their order, and how they were made; `truncated` is the number of cut texts."""

    values: NDArray[np.float32]
    texts: list[str]
    truncated: int
    made: dict[str, str]


def embed(
    run: str | Path,
    sources: Sequence[Source],
    out: str | Path,
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    field: str = "text",
    max_length: int | None = None,
) -> dict[str, Any]:
    """Write the vectors of all rows of `sources` (`data/rows.py`) to `out`; returns how many, and how wide.

    .npy            (N, E) float32
    .safetensors    the same as `embeddings`, with model and pooling in the header
    .jsonl          {"text": ..., "embedding": [...]} a row
    """
    check_format(out)
    return write(vectors(run, sources, pooling=pooling, prompt=prompt, field=field, max_length=max_length), out)


def vectors(
    run: str | Path,
    sources: Sequence[Source],
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    field: str = "text",
    max_length: int | None = None,
) -> Vectors:
    """Returns the vectors of all rows of `sources`, in their order.

    `pooling` (of `POOL`) stands for the model's own pooling and what follows it; `prompt` is the name of a prompt of
    the model, by default its default prompt, if it has one. `field` is the column of tables; a text is cut to
    `max_length` tokens, else to what the model or its parts read.
    """
    if pooling is not None and pooling not in POOL:
        raise ValueError(f"--pooling {pooling}: {suggest(pooling, POOL)}")
    folder = saved.locate(Path(run))
    parts = sentence_parts(folder)
    start = _prompt(folder, parts, prompt)
    pool = SentencePooling((pooling or "mean",)) if pooling or parts is None else sentence_pooling(parts)
    tokenizer, length = pretrained.load_tokenizer(folder), pretrained.reach(folder, max_length)
    if parts is not None:
        length = max_length or parts.max_length(length)
        _read_as(parts, tokenizer)
    model = pretrained.load_encoder(folder)
    texts = [_text(place, row, field) for place, row in rows(sources, (field,), option="--field")]
    examples = Examples([(start + text,) for text in texts], np.zeros(len(texts), np.int64))
    encoded = encode(tokenizer, examples, length)
    made = {"model": str(run), "pooling": pooling or ("mean" if parts is None else parts.names)}
    before = _prompt_length(tokenizer, start, length) if start else 0
    return Vectors(pooled(model, encoded, pool, before), texts, encoded.truncated, made)


def _prompt(folder: Path, parts: SentenceParts | None, name: str | None) -> str:
    """Returns the text before every text."""
    known = {} if parts is None else parts.prompts
    name = name or (parts.default_prompt if parts else None)
    if name is not None and name not in known:
        raise ValueError(f"--prompt {name}: the model in {folder} has no such prompt; {suggest(name, known)}")
    return known[name] if name else ""


def _read_as(parts: SentenceParts, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer read texts as sentence-transformers does: special tokens, and in lower case if asked for."""
    tokenizer.split_special_tokens = False
    if parts.text_settings.get("do_lower_case"):
        backend = tokenizer.backend_tokenizer
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _prompt_length(tokenizer: PreTrainedTokenizerBase, prompt: str, length: int) -> int:
    """Returns the number of tokens of a prompt, [CLS] among them and a final [SEP] not."""
    ids = tokenizer(prompt, truncation=True, max_length=length)["input_ids"]
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)


def check_format(out: str | Path) -> str:
    """Returns the suffix of the file, which names its format; raises ValueError for any other."""
    suffix = Path(out).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"--out {out}: the suffix says the format: {', '.join(FORMATS)}")
    return suffix


def write(found: Vectors, out: str | Path) -> dict[str, Any]:
    """Write the vectors to a file, complete or not at all; returns what `embed` returns."""
    out, suffix = Path(out), check_format(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.new_file(out) as path:
        _write(path, suffix, found.texts, found.values, found.made)
    return {"texts": len(found.texts), "size": found.values.shape[1], "truncated": found.truncated, "out": str(out)}


def _text(place: str, row: dict[str, Any], field: str) -> str:
    try:
        return as_text(row[field], field)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


@torch.inference_mode()
def pooled(
    model: LeanformerModel, encoded: Encoded, pool: SentencePooling, prompt_length: int = 0
) -> NDArray[np.float32]:
    """Returns (N, E) in the order of the texts. Raises ArithmeticError for NaN or infinity."""
    batches, vectors = list(evaluation_batches(encoded.lengths, BATCH_SIZE)), []
    pool = pool.to(model.device)
    alone = pool.modes == ("cls",) and (pool.include_prompt or not prompt_length)  # the first state is enough
    for sequences in batches:
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.inputs(sequences).items()}
        first = torch.zeros(len(sequences), 1, dtype=torch.long, device=model.device) if alone else None
        states_BLD = model(**inputs, places=first).last_hidden_state.float()
        vectors.append(pool(states_BLD, inputs["attention_mask"], prompt_length).cpu().numpy())
    by_length = np.concatenate(vectors)
    if not np.isfinite(by_length).all():
        raise ArithmeticError("the model answers with numbers that are not finite: its training has failed")
    found = np.empty_like(by_length)
    found[np.concatenate(batches)] = by_length
    return found


def _write(path: Path, suffix: str, texts: list[str], vectors: NDArray[np.float32], made: dict[str, str]) -> None:
    if suffix == ".npy":
        with path.open("wb") as binary:
            np.save(binary, vectors)
    elif suffix == ".safetensors":
        save_file({"embeddings": vectors}, path, metadata=made)
    else:
        with path.open("w", encoding="utf-8") as file:
            for text, vector in zip(texts, vectors.tolist(), strict=True):
                file.write(json.dumps({"text": text, "embedding": vector}, ensure_ascii=False) + "\n")

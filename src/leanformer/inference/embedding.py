"""One vector per text: the functions behind `leanformer embed`.

    mean    sum_t m_t h_t / sum_t m_t      over the tokens t of the text, [CLS] and [SEP] among them, padding not
    cls     h_0                            the state of [CLS]

with h (L, D) the encoder's last states and m the attention mask. A model that was only pre-trained has no use for its
[CLS] state, and `mean` is the better start (Reimers and Gurevych, 2019, table 6). B batch, L length, D model width.
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
from torch import Tensor

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
from leanformer.spelling import suggest

FORMATS = (".npy", ".safetensors", ".jsonl")


@dataclass(frozen=True)
class Vectors:
    """The vectors (N, D) of N texts in their order, and how they were made; `truncated` is the number of cut texts."""

    values: NDArray[np.float32]
    texts: list[str]
    truncated: int
    made: dict[str, str]


def embed(
    run: str | Path,
    sources: Sequence[Source],
    out: str | Path,
    *,
    pooling: str = "mean",
    field: str = "text",
    max_length: int | None = None,
) -> dict[str, Any]:
    """Write the vectors of all rows of `sources` (`data/rows.py`) to `out`; returns how many, and how wide.

    .npy            (N, D) float32
    .safetensors    the same as `embeddings`, with model and pooling in the header
    .jsonl          {"text": ..., "embedding": [...]} a row
    """
    check_format(out)
    return write(vectors(run, sources, pooling=pooling, field=field, max_length=max_length), out)


def vectors(
    run: str | Path,
    sources: Sequence[Source],
    *,
    pooling: str = "mean",
    field: str = "text",
    max_length: int | None = None,
) -> Vectors:
    """Returns the vectors of all rows of `sources`, in their order.

    `field` is the column of tables; a text is cut to `max_length` tokens, else to what the model reads.
    """
    if pooling not in POOL:
        raise ValueError(f"--pooling {pooling}: {suggest(pooling, POOL)}")
    folder = saved.locate(Path(run))
    tokenizer, length = pretrained.load_tokenizer(folder), pretrained.reach(folder, max_length)
    model = pretrained.load_encoder(folder)
    texts = [_text(place, row, field) for place, row in rows(sources, (field,), option="--field (in Python, text)")]
    encoded = encode(tokenizer, Examples([(text,) for text in texts], np.zeros(len(texts), np.int64)), length)
    made = {"model": str(run), "pooling": pooling}
    return Vectors(pooled(model, encoded, pooling), texts, encoded.truncated, made)


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
def pooled(model: LeanformerModel, encoded: Encoded, pooling: str) -> NDArray[np.float32]:
    """Returns (N, D) in the order of the texts. Raises ArithmeticError for NaN or infinity."""
    vectors = np.empty((len(encoded.lengths), model.config.hidden_size), np.float32)
    for sequences in evaluation_batches(encoded.lengths, BATCH_SIZE):
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.inputs(sequences).items()}
        first = torch.zeros(len(sequences), 1, dtype=torch.long, device=model.device) if pooling == "cls" else None
        states_BLD = model(**inputs, places=first).last_hidden_state.float()
        vectors[sequences] = POOL[pooling](states_BLD, inputs["attention_mask"]).cpu().numpy()
    if not np.isfinite(vectors).all():
        raise ArithmeticError("the model answers with numbers that are not finite: its training has failed")
    return vectors


def _mean(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    weights_BL1 = mask_BL[..., None].to(states_BLD.dtype)
    return (states_BLD * weights_BL1).sum(1) / weights_BL1.sum(1)


POOL = {"mean": _mean, "cls": lambda states_BLD, _: states_BLD[:, 0]}


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

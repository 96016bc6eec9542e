"""One vector per text in a file: the functions behind `leanformer embed` (see `evaluation/sentence_encoder.py`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from leanformer import files
from leanformer.data.readers import Source
from leanformer.data.rows import rows
from leanformer.data.tables import as_text
from leanformer.evaluation.sentence_encoder import SentenceEncoder
from leanformer.inference.backend import Backend

FORMATS = (".npy", ".safetensors", ".jsonl")


@dataclass(frozen=True)
class Vectors:
    """The vectors (N, E) of N texts in their order, and how they were made; `truncated` is the number of cut texts."""

    values: NDArray[np.float32]
    texts: list[str]
    truncated: int
    made: dict[str, str]
    int8_cost: dict[str, Any] | None = None
    """How far the 8-bit graph's states are from the float32 ones."""


def embed(
    run: str | Path,
    sources: Sequence[Source],
    out: str | Path,
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    field: str = "text",
    max_length: int | None = None,
    backend: str = "auto",
    precision: str = "fp32",
) -> dict[str, Any]:
    """Write the vectors of all rows of `sources` (`data/rows.py`) to `out`; returns how many, and how wide.

    .npy            (N, E) float32
    .safetensors    the same as `embeddings`, with model and pooling in the header
    .jsonl          {"text": ..., "embedding": [...]} a row
    """
    check_format(out)
    how: dict[str, Any] = {"pooling": pooling, "prompt": prompt, "field": field, "max_length": max_length}
    return write(vectors(run, sources, **how, backend=backend, precision=precision), out)


def vectors(
    run: str | Path,
    sources: Sequence[Source],
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    field: str = "text",
    max_length: int | None = None,
    backend: str = "auto",
    precision: str = "fp32",
) -> Vectors:
    """Returns the vectors of all rows of `sources`, in their order.

    `pooling` (of `POOL`) stands for the model's own pooling and what follows it; `prompt` is the name of a prompt of
    the model, by default its default prompt, if it has one. `field` is the column of tables; a text is cut to
    `max_length` tokens, else to what the model or its parts read. `backend` and `precision` are those of `backend.py`.
    """
    computing = Backend.of(backend, precision)
    how: dict[str, Any] = {"pooling": pooling, "prompt": prompt, "max_length": max_length}
    encoder = SentenceEncoder.open(run, **how, load=computing.encoder)
    texts = [_text(place, row, field) for place, row in rows(sources, (field,), option="--field (in Python, text)")]
    encoded, parts = encoder.encoded(texts), encoder.parts
    made = {"model": str(run), "pooling": pooling or ("mean" if parts is None else parts.names)}
    made |= computing.record
    return Vectors(encoder.pooled(encoded), texts, encoded.truncated, made, computing.int8_cost(encoder.folder))


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
    made = {"texts": len(found.texts), "size": found.values.shape[1], "truncated": found.truncated, "out": str(out)}
    made |= {key: found.made[key] for key in ("backend", "precision") if key in found.made}
    return made | ({} if found.int8_cost is None else {"int8": found.int8_cost})


def _text(place: str, row: dict[str, Any], field: str) -> str:
    try:
        return as_text(row[field], field)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


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

"""`leanformer.embed`: computes one vector per text."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanformer.attention import load_plugin
from leanformer.inference import embedding
from leanformer.inference.embedding import Vectors
from leanformer.interface.texts import sources
from leanformer.training.machine.hardware import prepare_cpu


def embed(
    run: Any,
    texts: Any,
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    text: str = "text",
    max_length: int | None = None,
    backend: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    plugin: str | Path | None = None,
) -> NDArray[np.float32]:
    """Returns an array (texts, width) with the vectors of `texts` by the encoder of `run`, in their order.

    run         a run, or the path of a run or a saved model
    texts       a list of texts; a path or a list of paths, with one text per line or row; a Dataset; a column or table
                of pandas. `text` is the column that holds the text
    pooling     "mean" of the states of all tokens, "cls", "max", ...; by default what the model's own parts of
                sentence-transformers say, and the mean where it has none
    prompt      the name of one of the model's prompts, which is put before each text; by default its default prompt
    max_length  the most tokens of a text, which is cut there; by default the length of the model or of its parts
    backend     "torch", "onnx" (ONNX Runtime, whose graph is kept beside the model) or "auto"
    precision   "fp32", "bf16" (torch, where the hardware multiplies it natively) or "int8"
    """
    how: dict[str, Any] = {"pooling": pooling, "prompt": prompt, "text": text, "max_length": max_length}
    how |= {"backend": backend, "precision": precision}
    return vectors(run, texts, **how, threads=threads, plugin=plugin).values


def vectors(
    run: Any,
    texts: Any,
    *,
    pooling: str | None,
    prompt: str | None,
    text: str,
    max_length: int | None,
    backend: str = "auto",
    precision: str = "fp32",
    threads: int | None,
    plugin: str | Path | None,
) -> Vectors:
    """Returns the same vectors with what the command line says about them."""
    load_plugin(plugin)
    prepare_cpu(threads)
    given = sources(texts)
    how: dict[str, Any] = {"pooling": pooling, "prompt": prompt, "field": text, "max_length": max_length}
    return embedding.vectors(Path(run), given, **how, backend=backend, precision=precision)

"""`leanformer.predict`: applies a trained model to texts."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from leanformer.attention import load_plugin
from leanformer.files import new_file
from leanformer.inference import prediction
from leanformer.interface.predictions import Predictions
from leanformer.interface.texts import sources
from leanformer.training.machine.hardware import prepare_cpu


def predict(
    run: Any,
    texts: Any,
    *,
    columns: Sequence[str] | None = None,
    top: int = 5,
    max_length: int | None = None,
    backend: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    plugin: str | Path | None = None,
) -> Predictions:
    """Returns what the model of `run` predicts for every text, in their order.

    run         a run, or the path of a run or a saved model; its task decides what is predicted
    texts       a list of texts, of tuples (one text per column of the task) or of dictionaries; a path or a list of
                paths; a Dataset; a column or table of pandas; Path("-") for standard input
    columns     the names that the table has for the columns of the task
    top         the number of words per [MASK], for a masked language model
    max_length  the most tokens of a text, which is cut there; by default as many as in fine-tuning
    backend     "torch", "onnx" (ONNX Runtime, whose graph is kept beside the model) or "auto"
    precision   "fp32", "bf16" (torch, where the hardware multiplies it natively) or "int8"
    """
    return Predictions(list(answers(run, texts, columns, top, max_length, threads, plugin, backend, precision)))


def answers(
    run: Any,
    texts: Any,
    columns: Sequence[str] | None,
    top: int,
    max_length: int | None,
    threads: int | None,
    plugin: str | Path | None,
    backend: str = "auto",
    precision: str = "fp32",
) -> Iterator[dict[str, Any]]:
    """Yields the same predictions, a part at a time, so that memory does not grow with a file."""
    load_plugin(plugin)
    prepare_cpu(threads)
    given = sources(texts, rows=True)
    how: dict[str, Any] = {"columns": columns, "top": top, "max_length": max_length}
    yield from prediction.predict(Path(run), given, **how, backend=backend, precision=precision)


def write(found: Iterable[dict[str, Any]], out: Path | TextIO) -> None:
    """Write one JSON line per prediction to an open file as they come, or to a path, complete or not at all."""
    if isinstance(out, Path):
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_file(out) as path, path.open("w", encoding="utf-8") as file:
            write(found, file)
    else:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)

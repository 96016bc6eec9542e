"""What a fine-tuned model says of texts nobody has labelled: the function behind `leanformer predict`.

    classification     label, and the probability of each:  softmax of the logits
    several labels     labels, those of a probability above 1/2, and the probability of each:  sigmoid of the logits
    multiple choice    the same as classification, over the choices
    regression         the number
    span extraction    answer, the part of the context, and `score`, the sum of its two logits; where questions may have
                       none, "" for none, and `score` is how much that sum is above the threshold of no answer
    tokens             entities, with their characters (`tagging.py`)
    masked LM          the likeliest words for every mask (`filling.py`)

A run of `leanformer finetune` records its task, hence the columns it reads and how they are put into words. Any other
saved model says by its class what it is for, and reads `text`, or the columns that are given.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from transformers import PreTrainedTokenizerBase

from leanformer.data import labels, tasks
from leanformer.data.examples import Examples
from leanformer.data.readers import Source
from leanformer.data.rows import rows
from leanformer.data.tables import as_text
from leanformer.data.tasks import Task
from leanformer.evaluation import no_answer, pretrained
from leanformer.evaluation.inputs.encoding import Read
from leanformer.evaluation.inputs.table import encode
from leanformer.evaluation.prediction import answer
from leanformer.inference import tagging
from leanformer.inference.backend import Backend
from leanformer.inference.filling import TRUNCATED, fill
from leanformer.models import LeanformerConfig, LeanformerPreTrainedModel, saved

CHUNK = 4096
"""Rows that are read, sorted by length and answered together: memory does not grow with the file."""
KINDS = {
    "LeanformerForSequenceClassification": "classification",
    "LeanformerForQuestionAnswering": "span",
    "LeanformerForMultipleChoice": "multiple_choice",
    "LeanformerForTokenClassification": "token_classification",
    "LeanformerForMaskedLM": "masked_lm",
}
COLUMNS = {"span": ("question", "context")}
"""Of a model without its task; else `text`."""
Answer = dict[str, Any]


def predict(
    run: str | Path,
    sources: Sequence[Source],
    *,
    columns: Sequence[str] | None = None,
    top: int = 5,
    max_length: int | None = None,
    backend: str = "auto",
    precision: str = "fp32",
) -> Iterator[Answer]:
    """Yields for every row of `sources` (`data/rows.py`) in order: its columns and the answer, as above, and
    `truncated` if it was cut to `max_length` tokens, by default as many as in fine-tuning.

    `columns`: where the file has them under other names than the task; `top`: words for a mask; `backend` and
    `precision`: those of `backend.py`. ValueError or OSError of one line for a model that predicts nothing, for one
    without a tokenizer, and for rows that cannot be read.
    """
    if top < 1:
        raise ValueError(f"--top {top}: must be at least 1")
    computing, folder = Backend.of(backend, precision), saved.locate(Path(run))
    kind, task, length = _asked(Path(run), folder, columns, max_length)
    own = task.columns if task else ("text",)
    if len(set(columns or own)) != len(own):
        raise ValueError(f"--columns {','.join(columns or ())}: {len(own)} are read here: {', '.join(own)}")
    model, tokenizer = computing.whole(folder, task), pretrained.load_tokenizer(folder)
    tagger = task is not None and task.kind == "token_classification"
    found = rows(sources, columns or own, words=tagger)
    while part := list(islice(found, CHUNK)):
        if task is not None and tagger:
            answers = _tagged(model, tokenizer, task, part, length)
        else:
            texts = [_texts(task, place, dict(zip(own, row.values(), strict=True))) for place, row in part]
            if task is None:
                answers = fill(model, tokenizer, [place for place, _ in part], [text for (text,) in texts], length, top)
            else:
                answers = _answers(model, tokenizer, task, texts, length)
        for (_, row), said in zip(part, answers, strict=True):
            yield row | said


def _asked(
    run: Path, folder: Path, columns: Sequence[str] | None, max_length: int | None
) -> tuple[str, Task | None, int]:
    """Returns (the kind of model, its task unless it fills masks, the tokens it is given)"""
    config = saved.config_of(folder)
    name = (config.architectures or ["LeanformerModel"])[0]
    if name not in KINDS:
        raise ValueError(f"{folder} holds a {name}, which predicts no label: give a run of leanformer finetune")
    kind, length = KINDS[name], pretrained.reach(folder, max_length)
    if kind == "masked_lm":
        return kind, None, length
    record = pretrained.run_record(run, folder)
    if record is not None and "task" in record:
        own = record.get("own")
        task = Task.of_dict(own["task"]) if own else tasks.task(record["task"])
        return kind, task, max_length or int(record["settings"]["finetuning"]["max_length"])
    if kind == "multiple_choice":
        raise ValueError(f"{folder} scores choices, and only a run says how many: give that of leanformer finetune")
    if kind == "classification" and config.problem_type == "multi_label_classification":
        kind = "multi_label"
    named = kind in ("classification", "multi_label", "token_classification")
    names = tuple(name for _, name in sorted((config.id2label or {}).items())) if named else ()
    if kind == "classification" and len(names) == 1:
        kind, names = "regression", ()
    of = tuple(columns or COLUMNS.get(kind) or ("text",))
    unanswerable = kind == "span" and _threshold(config) is not None
    return kind, Task(str(run), of, names, tasks.KINDS[kind][:1], kind=kind, unanswerable=unanswerable), length


def _threshold(config: LeanformerConfig) -> float | None:
    """Returns the threshold of no answer that fine-tuning chose, None if all its questions had one."""
    return getattr(config, "no_answer_threshold", None)


def _texts(task: Task | None, place: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        if task and task.template:
            return task.template(row)
        return tuple(as_text(found, column) for column, found in row.items())
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{place}: {error}") from None


def _answers(
    model: LeanformerPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    texts: list[tuple[str, ...]],
    length: int,
) -> list[Answer]:
    encoded = encode(task, tokenizer, Examples(texts, _blanks(task, len(texts))), length)
    said = _said(task, answer(model, encoded, model.device).read, _threshold(model.config))
    return [one | TRUNCATED if cut else one for one, cut in zip(said, encoded.cut, strict=True)]


def _blanks(task: Task, size: int) -> NDArray[Any]:
    """Returns labels in place of those that the rows lack."""
    if task.kind == "multi_label":
        return np.zeros((size, len(task.labels)), dtype=np.int64)
    blank: Any = {"text": [""], "answer_start": [0]} if task.kind == "span" else 0
    return np.array([blank] * size, dtype=labels.dtype(task))


def _said(task: Task, read: Read, threshold: float | None) -> list[Answer]:
    if task.kind == "span":
        margins: list[float] = [score for score, *_ in read.scores]
        if task.unanswerable and threshold is not None:
            margins = (threshold - no_answer.margins(read)).tolist()
            read = no_answer.decided(read, threshold)
        return [{"answer": text, "score": score} for text, score in zip(read.predictions, margins, strict=True)]
    if task.kind == "regression":
        return [{"prediction": number} for number in read.predictions.tolist()]
    if task.kind == "multi_label":
        return [_several(task.labels, row) for row in expit(np.array(read.scores)).tolist()]
    return [_label(task.labels, row) for row in softmax(read.scores, axis=1).tolist()]


def _tagged(
    model: LeanformerPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    rows: list[tuple[str, dict[str, Any]]],
    length: int,
) -> list[Answer]:
    """Returns the entities of each (place, {column: text or words})."""
    texts = []
    for place, row in rows:
        ((column, value),) = row.items()
        try:
            texts.append(tagging.read(task, value, column))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    blanks = np.empty(len(texts), dtype=object)
    blanks[:] = [text.blank(task) for text in texts]
    encoded = encode(task, tokenizer, Examples([(text.text,) for text in texts], blanks), length)
    read = answer(model, encoded, model.device).read
    columns = [next(iter(row)) for _, row in rows]
    found = zip(columns, texts, read.predictions, read.scores, strict=True)
    return [tagging.answer(task, *one) for one in found]


def _several(names: Sequence[str], probabilities: list[float]) -> Answer:
    of = dict(zip(names, probabilities, strict=True))
    return {"labels": [name for name, p in of.items() if p > 0.5], "probabilities": of}


def _label(names: Sequence[str], probabilities: list[float]) -> Answer:
    of = dict(zip(names, probabilities, strict=True))
    return {"label": max(of, key=of.__getitem__), "probabilities": of}

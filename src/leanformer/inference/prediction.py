"""What a fine-tuned model says of texts nobody has labelled: the function behind `leanformer predict`.

    classification     label, and the probability of each:  softmax of the logits
    multiple choice    the same, over the choices
    regression         the number
    span extraction    answer, the part of the context, and `score`, the sum of its two logits
    masked LM          the likeliest words for every mask (`filling.py`)

A run of `leanformer finetune` knows its task, hence the columns it reads and how they are put into words. Any other
saved model says by its class what it is for, and reads `text`, or the columns it is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from transformers import PreTrainedTokenizerBase

from leanformer.data import labels, tasks
from leanformer.data.examples import Examples
from leanformer.data.readers import Source
from leanformer.data.rows import rows
from leanformer.data.tables import as_text
from leanformer.data.tasks import Task
from leanformer.evaluation import pretrained
from leanformer.evaluation.inputs.table import ENCODERS
from leanformer.evaluation.prediction import answer
from leanformer.inference.filling import TRUNCATED, fill
from leanformer.models import LeanformerPreTrainedModel, saved

CHUNK = 4096
"""Rows that are read, sorted by length and answered together: memory does not grow with the file."""
KINDS = {
    "LeanformerForSequenceClassification": "classification",
    "LeanformerForQuestionAnswering": "span",
    "LeanformerForMultipleChoice": "multiple_choice",
    "LeanformerForMaskedLM": "masked_lm",
}
COLUMNS = {"span": ("question", "context")}
"""Of a model without its task; else `text`."""
BLANK: dict[str, Any] = {"span": {"text": [""], "answer_start": [0]}}
"""What stands for the label that a row has not, where 0 cannot."""
Answer = dict[str, Any]


def predict(
    run: str | Path,
    sources: Sequence[Source],
    *,
    columns: Sequence[str] | None = None,
    top: int = 5,
    max_length: int | None = None,
) -> Iterator[Answer]:
    """Of every row of `sources` (`data/rows.py`) in order: its columns and the answer, as above, and `truncated` if it
    was cut to `max_length` tokens, by default as many as in fine-tuning.

    `columns`: where the file has them under other names than the task; `top`: words for a mask. ValueError or OSError
    of one line for a model that predicts nothing, for one without a tokenizer, and for rows that cannot be read.
    """
    if top < 1:
        raise ValueError(f"--top {top}: must be at least 1")
    folder = saved.locate(Path(run))
    kind, task, length = _asked(Path(run), folder, columns, max_length)
    own = task.columns if task else ("text",)
    if len(set(columns or own)) != len(own):
        raise ValueError(f"--columns {','.join(columns or ())}: {len(own)} are read here: {', '.join(own)}")
    model, tokenizer = pretrained.load_as_saved(folder, task), pretrained.load_tokenizer(folder)
    found = rows(sources, columns or own)
    while part := list(islice(found, CHUNK)):
        places = [place for place, _ in part]
        texts = [_texts(task, place, dict(zip(own, row.values(), strict=True))) for place, row in part]
        if task is None:
            answers = fill(model, tokenizer, places, [text for (text,) in texts], length, top)
        else:
            answers = _answers(model, tokenizer, task, texts, length)
        for (_, row), said in zip(part, answers, strict=True):
            yield row | said


def _asked(
    run: Path, folder: Path, columns: Sequence[str] | None, max_length: int | None
) -> tuple[str, Task | None, int]:
    """(the kind of model, its task unless it fills masks, the tokens it is given)"""
    config = saved.config_of(folder)
    name = (config.architectures or ["LeanformerModel"])[0]
    if name not in KINDS:
        raise ValueError(f"{folder} holds a {name}, which predicts no label: give a run of leanformer finetune")
    kind, length = KINDS[name], pretrained.reach(folder, max_length)
    if kind == "masked_lm":
        return kind, None, length
    record = pretrained.run_record(run, folder)
    if record is not None and "task" in record:
        return kind, tasks.task(record["task"]), max_length or int(record["settings"]["finetuning"]["max_length"])
    if kind == "multiple_choice":
        raise ValueError(f"{folder} scores choices, and only a run says how many: give that of leanformer finetune")
    if config.problem_type == "multi_label_classification":
        raise ValueError(f"{folder} gives a text several labels: ask it with a pipeline of transformers instead")
    names = tuple(name for _, name in sorted((config.id2label or {}).items())) if kind == "classification" else ()
    if kind == "classification" and len(names) == 1:
        kind, names = "regression", ()
    of = tuple(columns or COLUMNS.get(kind) or ("text",))
    return kind, Task(str(run), of, names, metrics=tasks.KINDS[kind][:1], kind=kind), length


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
    blanks = np.array([BLANK.get(task.kind, 0)] * len(texts), dtype=labels.dtype(task))
    encoded = ENCODERS[task.kind](tokenizer, Examples(texts, blanks), length)
    read = answer(model, encoded, model.device).read
    if task.kind == "span":
        said = [{"answer": text, "score": score} for text, (score,) in zip(read.predictions, read.scores, strict=True)]
    elif task.kind == "regression":
        said = [{"prediction": number} for number in read.predictions.tolist()]
    else:
        said = [_label(task.labels, row) for row in softmax(read.scores, axis=1).tolist()]
    return [one | TRUNCATED if cut else one for one, cut in zip(said, encoded.cut, strict=True)]


def _label(names: Sequence[str], probabilities: list[float]) -> Answer:
    of = dict(zip(names, probabilities, strict=True))
    return {"label": max(of, key=of.__getitem__), "probabilities": of}

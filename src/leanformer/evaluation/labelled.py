"""Scores of a model that was fine-tuned on a user's file, on another labelled file of the same columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leanformer.data.own.findings import leak
from leanformer.data.own.load import read_more, training_texts
from leanformer.data.tasks import Task
from leanformer.evaluation import intervals, metrics, no_answer, pretrained
from leanformer.evaluation.inputs.table import encode
from leanformer.evaluation.metrics import Predicted
from leanformer.evaluation.prediction import answer
from leanformer.models import saved


def labelled(run: Path, data: str | Path) -> dict[str, Any]:
    """Returns the score, the metrics and the interval of the score (`intervals.py`) on the labelled file `data`.

    `notes` says how many of its texts are also training texts, or that this cannot be found out any more.
    Raises ValueError unless `run` is one of `leanformer finetune --data`, and for a label that it does not know.
    """
    folder = saved.locate(run)
    record = pretrained.run_record(run, folder)
    if record is None or "own" not in record:
        raise ValueError(
            f"{run} is no run of leanformer finetune --data, whose record names columns and labels: give one"
        )
    task = Task.of_dict(record["own"]["task"])
    examples = read_more(task, record["own"], Path(data))
    model, tokenizer = pretrained.load_as_saved(folder, task), pretrained.load_tokenizer(folder)
    encoded = encode(task, tokenizer, examples, int(record["settings"]["finetuning"]["max_length"]))
    read = answer(model, encoded, model.device).read
    if task.unanswerable:
        read = no_answer.decided(read, model.config.no_answer_threshold)
    predicted = Predicted(examples.labels, read.predictions)
    found = metrics.score(task, {task.validation[0]: predicted})
    low, high = intervals.interval(task, predicted)
    counted = {"examples": len(examples.texts), "truncated": encoded.truncated}
    scores = {**found["metrics"], "score": found["score"], "low": low, "high": high}
    return {"task": task.name, **scores, **counted, "notes": _overlap(record["own"], examples.texts)}


def _overlap(own: Mapping[str, Any], texts: Sequence[tuple[str, ...]]) -> list[str]:
    try:
        return leak("evaluated", texts, training_texts(own))
    except (OSError, ValueError) as error:
        return [f"whether texts are also training texts is unknown, since these cannot be read again ({error})"]

"""The task, the data and the model of a fine-tuning, which the runs of all seeds share: checked and loaded once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from leanformer.data import examples, tasks
from leanformer.data.examples import Examples
from leanformer.data.own.load import OwnTask
from leanformer.data.sampling import few_notes
from leanformer.data.tasks import Task
from leanformer.evaluation import baselines, pretrained
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.evaluation.inputs.table import encode
from leanformer.finetuning import chosen_method
from leanformer.models import saved
from leanformer.settings import FinetuningSettings

MANY = 0.1
"""The fraction of truncated examples above which a note is printed."""


@dataclass(frozen=True)
class TaskData:
    """The task, data and model that the runs of all seeds share, checked and loaded once."""

    task: Task
    source: Path
    """The folder of the pre-trained model."""
    tokenizer: PreTrainedTokenizerBase
    train: Encoded
    validation: Mapping[str, Encoded]
    record: Mapping[str, Any]
    """The part of run.json that they share."""
    test: Encoded | None = None
    """A user's test file, which is scored beside the validation splits and chooses nothing."""
    simple: Mapping[str, baselines.Predictions] = field(default_factory=dict)
    """Split -> what simple methods predict there, for a user's file."""
    target: Mapping[str, float] | None = None
    """The mean and sd by which the training targets of a regression are standardised, if they are."""

    @property
    def width(self) -> int:
        """The width of the model."""
        return saved.config_of(self.source).hidden_size


def load_task(run: str | Path, task: str, task_data: str | Path, settings: FinetuningSettings) -> TaskData:
    """Returns the data of the registered task `task` and the model of `run`, checked."""
    of = tasks.task(task)
    source, tokenizer = _model(run, of, settings)
    train, validation = examples.load(of, task_data)
    return _encoded(run, of, source, tokenizer, settings, str(task_data), train, validation)


def load_own(run: str | Path, own: OwnTask, settings: FinetuningSettings) -> TaskData:
    """Returns the data of a user's file and the model of `run`, checked, with the answers of the baselines."""
    source, tokenizer = _model(run, own.task, settings)
    extra = {} if own.test is None else {"test": own.test}
    where = own.record["files"]["train"]
    splits = {"validation": own.validation} | extra
    loaded = _encoded(run, own.task, source, tokenizer, settings, where, own.train, splits)
    train, parts = loaded.train.examples, {split: part.examples for split, part in loaded.validation.items()}
    validation = dict(loaded.validation)
    test = validation.pop("test", None)
    record = {**loaded.record, "own": {"task": own.task.to_dict(), **own.record}}
    record["data"] = {**record["data"], "notes": [*own.notes, *record["data"]["notes"]]}
    target, rows = None, loaded.train
    if own.task.standardised:
        target = {"mean": float(train.labels.mean()), "sd": float(train.labels.std())}
        if not target["sd"]:
            raise ValueError(
                f"{where}: all training rows have the same number {target['mean']:g}: nothing can be learned"
            )
        rows = replace(rows, labels=(rows.labels - target["mean"]) / target["sd"])
        record["own"]["target"] = target
    simple = baselines.predict(own.task, train, parts, balanced=settings.loss == "balanced")
    return replace(loaded, train=rows, validation=validation, record=record, test=test, simple=simple, target=target)


def _model(run: str | Path, task: Task, settings: FinetuningSettings) -> tuple[Path, PreTrainedTokenizerBase]:
    """Returns the model's folder and its tokenizer; raises ValueError if task or settings do not fit the model."""
    source = saved.locate(Path(run))
    config, tokenizer = saved.config_of(source), pretrained.load_tokenizer(source)
    if settings.max_length > config.max_position_embeddings:
        raise ValueError(
            f"finetuning.max_length = {settings.max_length}: the model in {source} reads at most "
            f"{config.max_position_embeddings} tokens"
        )
    chosen_method.require(task, config, settings)
    return source, tokenizer


def _encoded(
    run: str | Path,
    task: Task,
    source: Path,
    tokenizer: PreTrainedTokenizerBase,
    settings: FinetuningSettings,
    where: str,
    train: Examples,
    validation: Mapping[str, Examples],
) -> TaskData:
    config = saved.config_of(source)
    splits = {"train": train.subset(settings.max_train_examples)}
    splits |= {split: part.subset(settings.max_eval_examples) for split, part in validation.items()}
    encoded = {split: encode(task, tokenizer, part, settings.max_length) for split, part in splits.items()}
    record = {
        "task": task.name,
        "attention": config.attention,
        "attention_options": config.attention_options,
        "pretrained": str(run),
        "pretrained_hash": saved.weights_hash(source),
        "data": {
            "path": where,
            "notes": _notes(task.name, splits, validation, encoded, settings),
            "hash": {split: part.hash for split, part in splits.items()},
            "examples": {split: len(part.labels) for split, part in splits.items()},
            "truncated": {split: part.truncated for split, part in encoded.items()},
        },
    }
    return TaskData(task, source, tokenizer, encoded.pop("train"), encoded, record)


def _notes(
    task: str,
    splits: Mapping[str, Examples],
    validation: Mapping[str, Examples],
    encoded: Mapping[str, Encoded],
    settings: FinetuningSettings,
) -> list[str]:
    """Returns notes for readers of the scores: how the data were divided, reduced and truncated."""
    notes = [splits["train"].note] if splits["train"].note else []
    for split, whole in validation.items():
        some, every = len(splits[split].texts), len(whole.texts)
        if some < every:
            notes.append(f"{task} is scored on {some:,} of {every:,} {split} examples (finetuning.max_eval_examples)")
        notes += few_notes(some, f"{split} examples of {task}", "score several seeds (--seeds)")
    cut, examples = sum(part.truncated for part in encoded.values()), sum(len(part.texts) for part in splits.values())
    if cut > MANY * examples:
        share = f"{cut / examples:.0%}"
        notes.append(f"{task}: {share} of the examples are cut to finetuning.max_length = {settings.max_length} tokens")
    return notes

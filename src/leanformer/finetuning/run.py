"""One fine-tuning run; its score is that of the last step, never of the best one on the way.

    RUN/run.json            settings, seed, versions, hardware, data, status and results
    RUN/curve.jsonl         the training loss
    RUN/predictions.jsonl   a line an evaluated example, see `prediction.write_answers`
    RUN/corrections.jsonl   if labels are corrected, see `chosen_method`
    RUN/model/              save_pretrained and the tokenizer, unless not asked for

Order of the examples, dropout and the head's initial values are functions of the fine-tuning seed: runs from different
mechanisms are paired. A run is short, so it keeps no checkpoints: a killed one starts over. Training may run in bf16,
judging never does: two bf16 logits are often equal, and a tie would go to the first label.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from leanformer.data import examples, tasks
from leanformer.data.examples import Examples
from leanformer.data.sampling import few_notes
from leanformer.data.tasks import Task
from leanformer.evaluation import metrics, pretrained
from leanformer.evaluation.chance import chance
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.evaluation.inputs.table import ENCODERS
from leanformer.evaluation.metrics import Predicted
from leanformer.evaluation.prediction import answer, write_answers
from leanformer.finetuning import chosen_method
from leanformer.finetuning.classifier import load_classifier
from leanformer.models import saved
from leanformer.records.difference import difference
from leanformer.settings import FinetuningSettings, TrainingSettings
from leanformer.settings.finetuning import other_settings
from leanformer.training.loop import fit
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.run.interrupts import Stopped
from leanformer.training.run.record import RunDirectory, versions
from leanformer.training.run.saved_model import save
from leanformer.training.run.trackers import make_accelerator

PREDICTIONS = "predictions.jsonl"
LOGGED = 50
"""Lines of curve.jsonl, about."""
MANY = 0.1
"""The fraction of examples that may be cut without a word."""


@dataclass(frozen=True)
class TaskData:
    """What the runs of all seeds share, checked and loaded once."""

    task: Task
    source: Path
    """The folder of the pre-trained model."""
    tokenizer: PreTrainedTokenizerBase
    train: Encoded
    validation: Mapping[str, Encoded]
    record: Mapping[str, Any]
    """Their part of run.json."""


def load_task(run: str | Path, task: str, task_data: str | Path, settings: FinetuningSettings) -> TaskData:
    of, source = tasks.task(task), saved.locate(Path(run))
    config, tokenizer = saved.config_of(source), pretrained.load_tokenizer(source)
    if settings.max_length > config.max_position_embeddings:
        raise ValueError(
            f"finetuning.max_length = {settings.max_length}: the model in {source} reads at most "
            f"{config.max_position_embeddings} tokens"
        )
    chosen_method.require(of, config, settings)
    train, validation = examples.load(of, task_data)
    splits = {"train": train.subset(settings.max_train_examples)}
    splits |= {split: part.subset(settings.max_eval_examples) for split, part in validation.items()}
    encoded = {split: ENCODERS[of.kind](tokenizer, part, settings.max_length) for split, part in splits.items()}
    record = {
        "task": task,
        "attention": config.attention,
        "attention_options": config.attention_options,
        "pretrained": str(run),
        "pretrained_hash": saved.weights_hash(source),
        "data": {
            "path": str(task_data),
            "notes": _notes(task, splits, validation, encoded, settings),
            "hash": {split: part.hash for split, part in splits.items()},
            "examples": {split: len(part.labels) for split, part in splits.items()},
            "truncated": {split: part.truncated for split, part in encoded.items()},
        },
    }
    return TaskData(of, source, tokenizer, encoded.pop("train"), encoded, record)


def _notes(
    task: str,
    splits: Mapping[str, Examples],
    validation: Mapping[str, Examples],
    encoded: Mapping[str, Encoded],
    settings: FinetuningSettings,
) -> list[str]:
    """What a reader of the scores must know of the data: how they were divided, left out and cut."""
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


def run_finetuning(
    loaded: TaskData, settings: FinetuningSettings, out: Path, *, keep_model: bool, quiet: bool
) -> dict[str, Any]:
    """Fine-tune with `settings.seed` into the run directory `out`; its run.json."""
    prepare_cpu(settings.threads)
    accelerator = make_accelerator(TrainingSettings(), out)
    if accelerator.num_processes > 1:
        raise ValueError("a fine-tuning is one process: start it without accelerate launch")
    device, dtype = accelerator.device, autocast_dtype(settings.precision, accelerator.device)
    directory = RunDirectory(out)
    record = {
        "kind": "finetune",
        "status": "running",
        "seed": settings.seed,
        **loaded.record,
        "settings": {"finetuning": settings.to_dict()},
        "versions": versions(),
        "hardware": describe(device, 1, dtype),
        "results": None,
    }
    before = _before(directory, record)
    if before is not None and before["status"] == "finished":
        if not quiet:
            print(f"{out} is finished already: kept")
        return before

    model = load_classifier(loaded.source, loaded.task, settings.seed)
    method = chosen_method.choose(model, loaded.train, settings)
    training = _training(settings, method.objective.total_steps)
    how: dict[str, Any] = {"accelerator": accelerator, "callbacks": method.callbacks, "quiet": quiet}
    with directory.claimed(new=before is None):
        _clear(directory)
        directory.write(record)
        with directory.outcome():
            try:
                fitted = fit(model, method.objective, training, directory, **how)
            except Stopped:
                _clear(directory)
                raise
            except ArithmeticError as error:
                raise ArithmeticError(f"{out}: {error} (here: finetuning.learning_rate)") from error
            more = method.finish(out)
            results = _judge(model, loaded, device, out / PREDICTIONS) | more
            if keep_model:
                save(model, loaded.tokenizer, directory.model)
            results |= {key: fitted[key] for key in ("steps", "seconds")}
            return directory.update(status="finished", results=results)


def _judge(model: torch.nn.Module, loaded: TaskData, device: torch.device, path: Path) -> dict[str, Any]:
    """Score on every validation split, with the predictions written to `path`."""
    started = time.perf_counter()
    answers = {split: answer(model, part, device) for split, part in loaded.validation.items()}
    seconds = time.perf_counter() - started
    predicted = {
        split: Predicted(part.examples.labels, answers[split].read.predictions, part.examples.groups)
        for split, part in loaded.validation.items()
    }
    write_answers(path, predicted, answers)
    losses = np.concatenate([part.losses for part in answers.values()])
    return {
        **metrics.score(loaded.task, predicted),
        "chance": chance(loaded.task, {split: part.examples for split, part in loaded.validation.items()}),
        "validation_loss": float(losses.mean(dtype=np.float64)),
        "examples": sum(len(part.predictions) for part in predicted.values()),
        "evaluation_seconds": seconds,
    }


def _training(settings: FinetuningSettings, steps: int) -> TrainingSettings:
    """The loop's settings: nothing is validated or kept on the way."""
    shared = ("batch_size", "learning_rate", "weight_decay", "warmup", "schedule", "clip_norm", "precision", "seed")
    return TrainingSettings(
        **{key: getattr(settings, key) for key in shared},
        max_steps=steps,
        sequence_length=settings.max_length,
        log_every=max(1, steps // LOGGED),
        checkpoint_every=0,
    )


def require_settings(place: Path, record: Mapping[str, Any], settings: FinetuningSettings) -> None:
    """FileExistsError names the first of the settings that the record of the finished run in `place` has otherwise."""
    if found := other_settings(record, settings):
        raise FileExistsError(f"{place} was made with {found}: repeat its settings, or choose another --out")


def _before(directory: RunDirectory, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record in `directory` of this very run or of an unfinished one; FileExistsError if another would be lost."""
    if not directory.record.is_file():
        return None
    found = directory.read()
    if found.get("kind") == "finetune" and found.get("status") != "finished":
        return found
    if other := difference(_identity(found), _identity(record)):
        raise FileExistsError(f"{directory.path} holds a finished run with another {other.key}: choose another --out")
    return found


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on, by name. How many threads share the sums is not the experiment."""
    named = {key: record.get(key) for key in ("kind", "task", "pretrained_hash")}
    named |= {f"finetuning.{key}": value for key, value in record.get("settings", {}).get("finetuning", {}).items()}
    named |= {f"data.hash of {split}": value for split, value in record.get("data", {}).get("hash", {}).items()}
    return {key: value for key, value in named.items() if key != "finetuning.threads"}


def _clear(directory: RunDirectory) -> None:
    """Takes away what an unfinished run left, but for its record."""
    for folder in (directory.checkpoints, directory.model):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (directory.curve, directory.path / PREDICTIONS, directory.path / chosen_method.CORRECTIONS):
        file.unlink(missing_ok=True)

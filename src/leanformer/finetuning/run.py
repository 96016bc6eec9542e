"""A fine-tuning run; its score is that of the last step, never that of the best step.

    RUN/run.json            settings, seed, versions, hardware, data, status and results
    RUN/curve.jsonl         the training loss
    RUN/predictions.jsonl   one line per evaluated example, see `prediction.write_answers`
    RUN/corrections.jsonl   if labels are corrected, see `chosen_method`
    RUN/model/              save_pretrained and the tokenizer, unless the model is discarded

The order of the examples, dropout and the head's initial values are functions of the fine-tuning seed, so runs of
different mechanisms are paired. A run is short, so it keeps no checkpoints: a killed run starts over. Training may run
in bf16, but scoring never does: two bf16 logits are often equal, and a tie would go to the first label.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from leanformer.evaluation import baselines, metrics, no_answer
from leanformer.evaluation.chance import chance
from leanformer.evaluation.metrics import Predicted
from leanformer.evaluation.prediction import Answers, answer, write_answers
from leanformer.finetuning import chosen_method
from leanformer.finetuning.classifier import load_classifier, rescale
from leanformer.finetuning.task_data import TaskData
from leanformer.finetuning.watch import CollapseWatch
from leanformer.models import LeanformerPreTrainedModel
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
"""The approximate number of lines of curve.jsonl."""


def run_finetuning(
    loaded: TaskData, settings: FinetuningSettings, out: Path, *, keep_model: bool, quiet: bool
) -> dict[str, Any]:
    """Fine-tune with `settings.seed` into the run directory `out`; returns its run.json."""
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
    callbacks = [*method.callbacks, *(() if quiet else _watches(method, loaded, settings))]
    how: dict[str, Any] = {"accelerator": accelerator, "callbacks": callbacks, "quiet": quiet}
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
            if loaded.target is not None:
                rescale(model, **loaded.target)
            results = _judge(model, loaded, device, out / PREDICTIONS) | more
            if keep_model:
                save(model, loaded.tokenizer, directory.model)
            results |= {key: fitted[key] for key in ("steps", "seconds")}
            return directory.update(status="finished", results=results)


def _watches(method: chosen_method.Method, loaded: TaskData, settings: FinetuningSettings) -> list[CollapseWatch]:
    """Returns the callback that gives early advice, where the loss of a constant answer is known."""
    constant = loaded.train.constant_loss(method.class_weights)
    plain = settings.loss != "absgd" and settings.regsl.reweight_from is None
    if constant is None or not plain:
        return []
    task, width = loaded.task, loaded.width
    return [CollapseWatch(method.objective, constant, task, settings, width, lambda text: print(f"note: {text}"))]


def _judge(model: LeanformerPreTrainedModel, loaded: TaskData, device: torch.device, path: Path) -> dict[str, Any]:
    """Returns the scores on every validation split and on a test file, and writes the predictions to `path`."""
    started = time.perf_counter()
    parts = {**loaded.validation, **({} if loaded.test is None else {"test": loaded.test})}
    answers = {split: answer(model, part, device) for split, part in parts.items()}
    seconds = time.perf_counter() - started
    found: dict[str, Any] = {}
    if loaded.task.unanswerable:
        found["no_answer_threshold"] = _choose_threshold(model, loaded, answers)
    predicted = {
        split: Predicted(part.examples.labels, answers[split].read.predictions, part.examples.groups)
        for split, part in parts.items()
    }
    write_answers(path, predicted, answers)
    if loaded.simple:
        found["baselines"] = {
            split: baselines.beside(loaded.task, predicted[split], simple) for split, simple in loaded.simple.items()
        }
    if loaded.test is not None:
        found["test"] = metrics.score(loaded.task, {"test": predicted.pop("test")})
    losses = np.concatenate([answers[split].losses for split in predicted])
    return {
        **metrics.score(loaded.task, predicted),
        "chance": chance(loaded.task, {split: part.examples for split, part in loaded.validation.items()}),
        "validation_loss": float(losses.mean(dtype=np.float64)),
        "examples": sum(len(part.predictions) for part in predicted.values()),
        "evaluation_seconds": seconds,
        **found,
    }


def _choose_threshold(model: LeanformerPreTrainedModel, loaded: TaskData, answers: dict[str, Answers]) -> float:
    """Choose the threshold of no answer on the validation questions, and apply it to `answers` and the model."""
    (split,) = loaded.validation
    labels = loaded.validation[split].examples.labels
    threshold = no_answer.best_threshold(labels.tolist(), answers[split].read)
    for name, found in answers.items():
        answers[name] = found._replace(read=no_answer.decided(found.read, threshold))
    model.config.no_answer_threshold = threshold
    return threshold


def _training(settings: FinetuningSettings, steps: int) -> TrainingSettings:
    """Returns the settings of the loop, without validation and checkpoints."""
    shared = ("batch_size", "learning_rate", "weight_decay", "warmup", "schedule", "clip_norm", "precision", "seed")
    return TrainingSettings(
        **{key: getattr(settings, key) for key in shared},
        max_steps=steps,
        sequence_length=settings.max_length,
        log_every=max(1, steps // LOGGED),
        checkpoint_every=0,
    )


def require_settings(place: Path, record: Mapping[str, Any], settings: FinetuningSettings) -> None:
    """Raises FileExistsError with the first setting that differs in the record of the finished run in `place`."""
    if found := other_settings(record, settings):
        raise FileExistsError(f"{place} was made with {found}: repeat its settings, or choose another --out")


def _before(directory: RunDirectory, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the record in `directory` of the same run or of an unfinished one; FileExistsError for another run."""
    if not directory.record.is_file():
        return None
    found = directory.read()
    if found.get("kind") == "finetune" and found.get("status") != "finished":
        return found
    if other := difference(_identity(found), _identity(record)):
        raise FileExistsError(f"{directory.path} holds a finished run with another {other.key}: choose another --out")
    return found


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values on which a result depends, by name; the number of threads is not among them."""
    named = {key: record.get(key) for key in ("kind", "task", "pretrained_hash")}
    named |= {f"finetuning.{key}": value for key, value in record.get("settings", {}).get("finetuning", {}).items()}
    named |= {f"data.hash of {split}": value for split, value in record.get("data", {}).get("hash", {}).items()}
    named |= {f"task.{key}": value for key, value in ((record.get("own") or {}).get("task") or {}).items()}
    return {key: value for key, value in named.items() if key != "finetuning.threads"}


def _clear(directory: RunDirectory) -> None:
    """Remove the files of an unfinished run, except its record."""
    for folder in (directory.checkpoints, directory.model):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (directory.curve, directory.path / PREDICTIONS, directory.path / chosen_method.CORRECTIONS):
        file.unlink(missing_ok=True)

"""One encoder trained with one seed, and scored.

    RUN/run.json            settings, seed, versions, hardware, data, status and results
    RUN/curve.jsonl         the training loss
    RUN/predictions.jsonl   a line a mention, see `scoring`
    RUN/model/              of a transformer: save_pretrained and the tokenizer, unless not asked for

A finished run is kept; one that was killed goes on from its last checkpoint, to the same end bit by bit.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accelerate import Accelerator

from leanformer import files
from leanformer.evaluation.sentence_encoder import Pooled
from leanformer.linking.dictionary import Dictionary
from leanformer.linking.encoders import Neural, Spec, build
from leanformer.linking.mentions import Mention
from leanformer.linking.objective import LinkingObjective
from leanformer.linking.scoring import score
from leanformer.linking.settings import LinkingSettings
from leanformer.records.difference import difference
from leanformer.settings import TrainingSettings
from leanformer.study.job import Job
from leanformer.training.loop import fit
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.run.record import RunDirectory, versions
from leanformer.training.run.saved_model import save
from leanformer.training.run.trackers import make_accelerator

PREDICTIONS = "predictions.jsonl"
LOGGED = 50
"""Lines of curve.jsonl, about."""


@dataclass(frozen=True, kw_only=True)
class LinkingJob(Job):
    """One encoder with one seed; it is done in the process of its study."""

    spec: Spec
    settings: LinkingSettings
    seed: int


@dataclass(frozen=True)
class Question:
    """What every encoder is asked, checked and loaded once."""

    dictionary: Dictionary
    mentions: list[Mention]
    """Those that are scored."""
    train: list[tuple[str, str]]
    """(text, id)"""
    record: Mapping[str, Any]
    """Their part of run.json."""


def run(job: LinkingJob, question: Question, *, keep_model: bool, quiet: bool) -> dict[str, Any]:
    """The run.json of the job, whose run is made or continued. FileExistsError if another one lives there."""
    spec, settings = job.spec, job.settings
    prepare_cpu(settings.threads)
    training = _training(settings, job.seed)
    accelerator = make_accelerator(training, job.directory)
    if accelerator.num_processes > 1:
        raise ValueError("linking is one process: start it without accelerate launch")
    directory, device = RunDirectory(job.directory), accelerator.device
    record = {
        "kind": "link",
        "status": "running",
        "encoder": spec.name,
        "encoder_kind": spec.kind,
        "source": None if spec.source is None else str(spec.source),
        "source_hash": spec.hash,
        "seed": job.seed,
        "data": dict(question.record),
        "settings": {"linking": asdict(settings)},
        "versions": versions(),
        "hardware": describe(device, 1, autocast_dtype(settings.precision, device)),
        "results": None,
    }
    before = _before(directory, record)
    if before is not None and before["status"] == "finished":
        return before
    with directory.claimed(new=before is None):
        directory.write(record)
        with directory.outcome():
            return _carry_out(job, question, training, accelerator, keep_model, quiet)


def _carry_out(
    job: LinkingJob,
    question: Question,
    training: TrainingSettings,
    accelerator: Accelerator,
    keep_model: bool,
    quiet: bool,
) -> dict[str, Any]:
    settings, directory = job.settings, RunDirectory(job.directory)
    known = [*question.dictionary.meanings, *(text for text, _ in question.train)]
    encoder = build(job.spec, list(dict.fromkeys(known)), settings, job.seed, accelerator.device)
    fitted: dict[str, Any] = {"steps": 0, "seconds": 0.0}
    if isinstance(encoder, Neural) and settings.epochs:
        objective = LinkingObjective(encoder, question.train, question.dictionary, settings, job.seed)
        steps = objective.total_steps
        exact = TrainingSettings(**asdict(training) | {"max_steps": steps, "log_every": max(1, steps // LOGGED)})
        try:
            fitted = fit(encoder.model, objective, exact, directory, accelerator=accelerator, resume=True, quiet=quiet)
        except ArithmeticError as error:
            raise ArithmeticError(f"{directory.path}: {error} (here: linking.learning_rate)") from error
    results, rows = score(encoder, question.mentions, question.dictionary, settings.composites)
    files.write_json_lines(directory.path / PREDICTIONS, rows)
    if keep_model and isinstance(encoder, Neural) and isinstance(encoder.model, Pooled):
        save(encoder.model.encoder, encoder.words, directory.model)
    results |= {"steps": fitted["steps"], "training_seconds": fitted["seconds"]}
    finished = directory.update(status="finished", results=results)
    shutil.rmtree(directory.checkpoints, ignore_errors=True)
    return finished


def _training(settings: LinkingSettings, seed: int) -> TrainingSettings:
    """The loop's settings, but for the number of steps."""
    shared = ("batch_size", "learning_rate", "weight_decay", "warmup", "clip_norm", "precision", "checkpoint_every")
    return TrainingSettings(
        **{key: getattr(settings, key) for key in shared}, sequence_length=settings.max_length, seed=seed
    )


def _before(directory: RunDirectory, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record in `directory`, if it is of this very run; another one is a FileExistsError."""
    if not directory.record.is_file():
        return None
    found = directory.read()
    old, new = _identity(found), _identity(record)
    if other := difference({key: old.get(key) for key in new}, new):
        raise FileExistsError(f"{directory.path} holds a run with another {other.key}: choose another --out")
    return found


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on, by name. How many threads share the sums is not the experiment."""
    named = {key: record.get(key) for key in ("kind", "encoder_kind", "source_hash", "seed")}
    named |= {f"linking.{key}": value for key, value in record.get("settings", {}).get("linking", {}).items()}
    named |= {key: record.get("data", {}).get(key) for key in ("split", "hash")}
    return {key: value for key, value in named.items() if key not in ("linking.threads", "linking.checkpoint_every")}

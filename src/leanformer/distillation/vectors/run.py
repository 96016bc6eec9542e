"""A run that distils sentence vectors: the function behind `leanformer distill` with texts as data.

    RUN/run.json     settings, seed, versions, hardware, data, start, teacher, status and results
    RUN/curve.jsonl  the training loss, and the loss on held-out texts
    RUN/checkpoint/  see `training/run/checkpoint.py`
    RUN/model/       the student's encoder, its tokenizer, and the parts of sentence-transformers that it had

Of `results`, `start` and `end` compare the student with the teacher on the held-out texts before and after training:
`cosine` is the mean cosine of both vectors of a text, `similarities` the rank correlation of the cosines of all pairs
of texts. With a file of pairs, `pairs` lists what `evaluation/similarity.py` measures at some steps, `teacher_pairs`
what the teacher reaches.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from typing import Any

from leanformer import files, progress
from leanformer.attention import load_plugin
from leanformer.data.readers import Source
from leanformer.distillation.vectors import texts as data
from leanformer.distillation.vectors.losses import SAME_WIDTH
from leanformer.distillation.vectors.objective import Part, VectorObjective, rows_read
from leanformer.distillation.vectors.student import fresh
from leanformer.distillation.vectors.watch import PairWatch
from leanformer.evaluation.sentence_encoder import SentenceEncoder
from leanformer.evaluation.similarity import Pairs, agreement, measure
from leanformer.models import LeanformerConfig, saved
from leanformer.models.cost import ledger
from leanformer.settings import BUDGETS, DistillationSettings, Settings, TrainingSettings, settings_from
from leanformer.training.loop import fit
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.pretrain import saved_record
from leanformer.training.run.interrupts import Stopped
from leanformer.training.run.provenance import continued, run_difference
from leanformer.training.run.record import RunDirectory, versions
from leanformer.training.run.saved_model import save
from leanformer.training.run.trackers import make_accelerator

METHOD = "vectors"
DEFAULTS: dict[str, Any] = {
    "distillation": {"method": METHOD},
    "training": {"batch_size": 64, "learning_rate": 5e-5, "warmup": 0.1, "validation_sequences": 256},
}
"""Settings that apply unless others are given, beside the budget of one epoch."""
UNUSED = ("micro_batch_size", "first_batch_size", "final_mask_rate", "document_mask", "score_at", "compile")
"""Settings of [training] that are for packed tokens."""
VALIDATIONS = 5
"""The approximate number of validations of a run."""


def distill_vectors(
    settings: Settings | None,
    sources: Sequence[Source] | None,
    out: str | Path,
    *,
    teacher: str | Path,
    student: str | Path | None = None,
    column: str = "text",
    pairs: Pairs | None = None,
    resume: bool = False,
    quiet: bool = False,
    plugin: str | Path | None = None,
) -> dict[str, Any]:
    """Train `student`, a run or saved model, by the vectors of `teacher` of the texts in `sources`; returns run.json.

    Without a student, [model] of the settings describes a fresh one in the teacher's tokens. `column` holds the texts
    of tables. On `resume`, settings and sources that are None are the run's own, and others must agree with it.
    Everything is checked before `out` is touched. Raises what `pretrain` raises.
    """
    run, before = RunDirectory(Path(out)), None
    if resume:
        before = run.read()
        settings = settings or settings_from(before["settings"])
        sources = sources or before["data"]["paths"]
        student = student or (before.get("start") or {}).get("path")
        plugin = plugin or (before.get("plugin") or {}).get("path")
    else:
        run.require_unused()
    load_plugin(plugin)
    if settings is None or not sources:
        raise ValueError("no texts given: name a file with one text per line by --data")
    _require_used(settings.training)
    prepare_cpu(settings.training.threads)
    accelerator = make_accelerator(settings.training, run.path)
    if accelerator.num_processes > 1:
        raise ValueError("a distillation of vectors is one process: start it without accelerate launch")
    device, console = accelerator.device, progress.console(quiet=quiet)

    taught = SentenceEncoder.open(teacher)
    learner = SentenceEncoder.open(student, changes=settings.model) if student else fresh(taught, settings)
    require_widths(taught, learner, settings.distillation)
    texts = data.read(sources, column, settings.training.validation_sequences)
    training = planned(settings.training, len(texts.train))
    length, teachers = (min(training.sequence_length, each.length) for each in (learner, taught))
    encoded = [learner.encoded(part, length) for part in (texts.train, texts.valid)]
    record: dict[str, Any] = {
        "kind": "distill",
        "status": "running",
        "attention": learner.config.attention,
        "attention_options": learner.config.attention_options,
        "seed": training.seed,
        "settings": {
            "model": {name: getattr(learner.config, name) for name in LeanformerConfig.__annotations__},
            "training": asdict(training),
            "distillation": asdict(settings.distillation),
        },
        "start": student and learner.record,
        "teacher": taught.record,
        "plugin": plugin and {"path": str(Path(plugin).resolve()), "sha256": files.sha256(Path(plugin))},
        "versions": versions(),
        "hardware": describe(device, 1, autocast_dtype(training.precision, device)),
        "ledger": ledger(learner.config, length, head="none"),
        "data": texts.record | {"truncated": encoded[0].truncated + encoded[1].truncated},
        "pairs": pairs and {"number": len(pairs.first), "sha256": pairs.sha256},
        "results": None,
    }
    if before is not None:
        if before.get("pairs") != record["pairs"]:
            raise ValueError(f"{run.record} was made with other --pairs, or without any: repeat them")
        if changed := run_difference(before, record):
            raise ValueError(f"{run.record} was made with {changed}: repeat its settings, or choose another --out")
        if before["status"] == "finished":
            saved.locate(run.path)
            console.print(f"{run.path} is already finished")
            return before
        record = continued(before, record)
    resolved = replace(training, precision=record["hardware"]["precision"])

    with run.claimed(new=before is None):
        run.write(record)
        for note in record["data"]["notes"]:
            console.print(f"note: {note}")
        console.print(f"{run.path.name}: {learner.config.attention}, by the vectors of {taught.folder}")
        with run.outcome():
            rows = rows_read(encoded[0].lengths, resolved)
            train = Part(encoded[0], taught.vectors([texts.train[row] for row in rows], teachers), rows)
            valid = Part(encoded[1], taught.vectors(texts.valid, teachers))
            objective = VectorObjective(train, valid, resolved, settings.distillation)
            start = agreement(learner.pooled(valid.encoded), valid.vectors)
            watch = PairWatch(pairs, learner, length, objective.total_steps, console.print)
            how: dict[str, Any] = {"accelerator": accelerator, "callbacks": [watch], "resume": before is not None}
            try:
                results = fit(learner.model, objective, resolved, run, **how, quiet=quiet)
            except Stopped as stop:
                console.print(
                    f"stopped by {stop.signal} after step {stop.step}; continue by the same command and --resume"
                )
                raise
            end = agreement(learner.pooled(valid.encoded), valid.vectors)
            results |= {"start": start, "end": end}
            if pairs is not None:
                watch.measure(results["steps"])
                results |= {
                    "pairs": watch.rows,
                    "teacher_pairs": measure(pairs, lambda each: taught.vectors(each, teachers)),
                }
            save(learner.encoder, learner.tokenizer, run.model, learner.parts)
            record = run.update(status="finished", results=results, model=saved_record(run))
    if "similarities" in end and end["similarities"] < start["similarities"]:
        console.print(
            f"note: the similarities of texts are further from the teacher's than before training (correlation "
            f"{end['similarities']:.4f}, before {start['similarities']:.4f}): lower training.learning_rate = "
            f"{training.learning_rate:g}"
        )
    console.print(f"finished: {run.model}")
    return record


def planned(training: TrainingSettings, texts: int) -> TrainingSettings:
    """Returns the settings with a budget, one epoch where none is given, and with VALIDATIONS validations."""
    if all(getattr(training, budget) is None for budget in BUDGETS):
        training = replace(training, max_steps=ceil(texts / training.batch_size))
    if training.validate_every is None and training.max_steps is not None:
        training = replace(training, validate_every=max(1, training.max_steps // VALIDATIONS))
    return training


def _require_used(training: TrainingSettings) -> None:
    """Raises ValueError for a setting that this objective does not have."""
    if training.objective != "masked_lm":
        raise ValueError(
            f"training.objective = {training.objective!r}: an encoder learns vectors of texts, leave it out"
        )
    for key in UNUSED:
        if getattr(training, key) not in (None, False):
            raise ValueError(f"training.{key} = {getattr(training, key)!r}: texts are read whole, leave it out")


def require_widths(teacher: SentenceEncoder, student: SentenceEncoder, settings: DistillationSettings) -> None:
    """Raises ValueError for a loss that compares vectors of unequal widths."""
    widths = teacher.width, student.width
    for name, weight in settings.vector_losses.items():
        if weight and name in SAME_WIDTH and widths[0] != widths[1]:
            raise ValueError(
                f"distillation.vector_losses.{name}: the teacher's vectors have {widths[0]} numbers, the student's "
                f"{widths[1]}; set it to 0, and give similarity or ranking a weight, which compare similarities only"
            )

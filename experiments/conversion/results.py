"""From the folders of the protocol to OUT/results.json, and from that alone to OUT/report.md.

A row per job: what it is (`kind`, `attention`, `budget`, `seed`, ...) and what came of it. `loss` is that of masked
words of all held-out sequences under the frozen masks of validation, in nats, of whatever model; losses that were
measured once are kept in OUT/losses.json.
"""

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from experiments.conversion import exports
from experiments.conversion.plan import BUDGETS, LOGITS, METHODS, ConversionJob, Plan
from experiments.conversion.tables import document
from experiments.protocol import read_record, read_result
from leanformer.evaluation import pretrained
from leanformer.files import write_json, write_text
from leanformer.models import saved
from leanformer.reporting.render.markdown import markdown
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM

CONVERTED = ("parameters_after", "loss_before", "loss_after", "stored_blocks", "head_blocks")


def write_results(p: Plan, missing: list[str]) -> None:
    finished = [job for name in p.stages for job in p.stage(name) if job.finished]
    rows = [{**job.row, **found} for job in finished for found in _found(p, job)]
    teacher = p.out / p.teacher / "run.json"
    if p.given is not None and teacher.is_file():
        rows.insert(0, {"kind": "teacher", **_trained(p, p.given)})
    rows += [{"kind": "random", "seed": 1, "loss": _loss(p, "random/seed-1")}]
    found = p.head("conversion") | {
        "budgets": list(BUDGETS),
        "methods": {LOGITS: [], **{name: list(settings) for name, settings in METHODS.items()}},
        "mechanisms": {name: [each.label for each in getattr(p, name)] for name in ("every", "closely", "few")},
        "tasks": list(p.tasks),
        "settings": p.settings.to_dict(),
        "healing_rate": p.rate(),
        "floor": read_result(teacher).get("floor") if teacher.is_file() else None,
        "teacher_tokens": p.tokens,
        "missing": missing,
        "rows": rows,
        "exports": _exports(p),
    }
    found["data"] |= p.corpus.sizes
    write_json(p.out / "results.json", found)


def write_report(out: Path) -> None:
    file = out / "results.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: run the protocol first")
    write_text(out / "report.md", markdown(document(read_record(file, "conversion"))))


def _found(p: Plan, job: ConversionJob) -> list[dict[str, Any]]:
    """What came of a job; of a fine-tuning a row a seed."""
    if job.verb == "convert":
        return [_converted(p, job.name)]
    if job.verb == "finetune":
        records = [read_result(path) for path in job.products]
        kept = ("score", "collapsed", "seconds")
        return [{"seed": each["seed"], **{key: each["results"][key] for key in kept}} for each in records]
    return [_trained(p, job.directory)] if job.verb in ("pretrain", "distill") else [{}]


def _converted(p: Plan, path: str) -> dict[str, Any]:
    record = read_result(p.out / path / "conversion.json")
    layers = record["layers"]
    row = {key: record.get(key) for key in CONVERTED}
    for key in ("logits_residual", "value_residual", "divergence"):
        values = [layer[key] for layer in layers if layer[key] is not None]
        row[key] = fmean(values) if values else None
    return row | {"layers": layers, "loss": _loss(p, path)}


def _trained(p: Plan, run: Path) -> dict[str, Any]:
    record = read_result(run / "run.json")
    results, training = record["results"], record["settings"]["training"]
    row = {key: results[key] for key in ("tokens", "seconds", "validations")}
    row |= {"parameters": record["ledger"]["parameters"]["total"], "learning_rate": training["learning_rate"]}
    return row | {"loss": _loss(p, str(run.relative_to(p.out)) if run.is_relative_to(p.out) else str(run))}


def _loss(p: Plan, path: str) -> float:
    """Measured once."""
    file = p.out / "losses.json"
    known = read_result(file) if file.is_file() else {}
    if path not in known:
        known[path] = held_out_loss(p, p.out / path)
        write_json(file, known)
    return float(known[path])


@torch.inference_mode()
def held_out_loss(p: Plan, place: Path) -> float:
    model = pretrained.load(saved.locate(place), "masked_lm").eval()
    how = {"sequence_length": p.settings.training.sequence_length, "batch_size": 1, "validation_sequences": None}
    objective = MaskedLM(p.corpus, TrainingSettings.of(how))
    loss, targets = 0.0, 0
    for batch in objective.validation_batches(0, 1):
        loss, targets = loss + float(objective.loss_sum(model, batch)), targets + objective.num_targets(batch)
    if not math.isfinite(loss):
        raise ArithmeticError(f"{place} answers with numbers that are not finite: its training has failed")
    return loss / targets


def _exports(p: Plan) -> list[dict[str, Any]]:
    """Measured once, when all exports are there."""
    file = p.out / "exports.json"
    if not file.is_file():
        jobs = p.stage("exports")
        if not jobs or not all(job.finished for job in jobs):
            return []
        write_json(file, exports.measure(p))
    return list(read_result(file))

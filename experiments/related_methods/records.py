"""Writes OUT/records/STUDY.json from the folders of the protocol: small files that hold every number of the tables."""

import json
from pathlib import Path

import numpy as np

from experiments.protocol import read_result
from experiments.related_methods.plan import BASES, PLAN, MethodJob, Plan, marker
from experiments.rows import Row
from leanformer.files import write_json
from leanformer.linking.settings import KINDS
from leanformer.reporting.analysis.examples import mcnemar

COMPARED = ("attention", "seed", "status", "parameters", "tokens", "seconds", "final_loss", "learned_from_context")
BENCHED = ("attention", "length", "batch", "parameters", "peak_bytes")
LINKED = ("accuracy@1", "accuracy@5", "unlisted_accuracy@1", "parameters", "without_embeddings", "names_per_second",
          "training_seconds", "index_bytes", "mentions")  # fmt: skip


def write(p: Plan, missing: list[str]) -> None:
    jobs = [job for name in p.stages for job in p.stage(name)]
    for study in p.studies:
        own = [job for job in jobs if job.study == study]
        used = {name for job in own for name in job.needs}
        record = p.head("related_methods") | {
            "study": study,
            "sizes": dict(p.sizes),
            "settings": {table: p.settings.to_dict()[table] for table in ("model", "training")},
            "encoders": [_base(p, name) for name in BASES if f"base/{name}" in used],
            "missing": [name for name in missing if name in {job.name for job in own} | used],
            "pieces": [{"path": job.name, "minutes": _minutes(p, job), **job.row} for job in own if job.finished],
            "tried": _tried(p, study),
            "rows": [row for job in own for row in _rows(job)],
        }
        (p.out / "records").mkdir(exist_ok=True)
        write_json(p.out / "records" / f"{study}.json", record)


def _minutes(p: Plan, job: MethodJob) -> float:
    """Wall clock; a job of the comparisons has the whole machine."""
    return round(read_result(marker(p.out, job.name))["seconds"] / 60, 2)


def _base(p: Plan, name: str) -> Row:
    file = p.out / "base" / name / "run.json"
    found = read_result(file) if file.is_file() else {}
    results = found.get("results") or {}
    size = found.get("ledger", {}).get("parameters", {}).get("total")
    return {"attention": name, "parameters": size} | {key: results.get(key) for key in ("tokens", "final_loss")}


def _tried(p: Plan, study: str) -> dict[str, list[Row]]:
    """Returns, per trial and task, the candidates with what they reached, and the one that was taken."""
    if study == "linking":
        return {kind: [p.tried_rates(kind)] for kind in KINDS}
    return {
        name: [p.tried(name, task) for task in p.tried_on(name)]
        for name, tried in PLAN["tried"].items()
        if PLAN["groups"][tried["group"]]["study"] == study
    }


def _rows(job: MethodJob) -> list[Row]:
    """Returns the rows of a job; of one that failed or is not finished, those that are there."""
    kind = job.arguments[0]
    if job.name.startswith("trials/"):
        return []
    if kind == "link":
        return _linked(job.directory, job.row["corpus"])
    file = job.directory / ("results.json" if kind in ("compare", "bench") else "finetuning.json")
    if not file.is_file():
        return []
    found = read_result(file)
    if kind == "compare":
        floor = (found["floor"] or {}).get("context_free")
        return [{"kind": "compared", "floor": floor} | {key: run.get(key) for key in COMPARED} for run in found["runs"]]
    if kind == "bench":
        return [
            {"kind": "timed"}
            | {key: row.get(key) for key in BENCHED}
            | {step: {key: row[step][key] for key in ("seconds", "speed")} for step in ("training", "inference")}
            for row in found["rows"]
        ]
    return [{"kind": "tuned"} | {key: row[key] for key in row if key != "metrics"} for row in found["rows"]]


def _linked(folder: Path, corpus: str) -> list[Row]:
    """A row a run, and a row a pair of encoders and a seed: McNemar's test over mentions, of accuracy@1."""
    rows, right = [], dict[tuple[str, int], list[bool]]()
    for file in sorted(folder.glob("runs/*/seed-*/run.json")):
        record = read_result(file)
        if record["status"] == "finished":
            row = {key: record[key] for key in ("encoder", "encoder_kind", "seed")}
            rows.append({"kind": "linked", "corpus": corpus, **row} | {key: record["results"][key] for key in LINKED})
            lines = file.with_name("predictions.jsonl").read_text(encoding="utf-8").splitlines()
            right[row["encoder"], row["seed"]] = [json.loads(line)["right@1"] for line in lines]
    for (one, seed), ours in sorted(right.items()):
        for other in sorted({name for name, _ in right} - {one}):
            theirs = right.get((other, seed), right.get((other, 1)))  # trigrams have one run
            if theirs is not None:
                test = mcnemar(seed, 1, np.array(ours), np.array(theirs))
                apart = {"only": test.only, "only_other": test.only_baseline, "p_value": test.p_value}
                pair = {"kind": "paired", "corpus": corpus, "encoder": one, "other": other, "seed": seed}
                rows.append({**pair, **apart, "mentions": len(ours)})
    return rows

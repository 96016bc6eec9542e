"""From the folders of the protocol to OUT/records/STUDY.json: small files that hold every number of the tables."""

import json
from pathlib import Path
from typing import Any

from scipy import stats

from experiments.related_methods.methods import TRIED
from experiments.related_methods.plan import BASES, LINKING_RATES, STAGES, MethodJob, Protocol, marker, stage
from leanformer.files import write_json
from leanformer.linking.settings import KINDS
from leanformer.records.reading import SCHEMA
from leanformer.training.run.record import versions

COMPARED = ("attention", "seed", "status", "parameters", "tokens", "seconds", "final_loss", "learned_from_context")
BENCHED = ("attention", "length", "batch", "parameters", "peak_bytes")
LINKED = ("accuracy@1", "accuracy@5", "unlisted_accuracy@1", "parameters", "without_embeddings", "names_per_second",
          "training_seconds", "index_bytes")  # fmt: skip


def write(p: Protocol, missing: list[str]) -> None:
    jobs = [job for name in STAGES for job in stage(p, name)]
    for study in p.studies:
        own = [job for job in jobs if job.study == study]
        used = {name for job in own for name in job.needs}
        record = {
            "schema": SCHEMA,
            "kind": "related_methods",
            "study": study,
            "seeds": p.seeds,
            "jobs": p.jobs,
            "sizes": p.sizes.record(),
            "settings": {table: p.settings.to_dict()[table] for table in ("model", "training")},
            "data": {"hash": p.corpus.hash, "vocab_size": p.corpus.vocab_size},
            "encoders": [_base(p, name) for name in BASES if f"base/{name}" in used],
            "versions": versions(),
            "hardware": p.hardware(),
            "missing": [name for name in missing if name in {job.name for job in own} | used],
            "pieces": [{"path": job.name, **_cost(p, job), **job.row} for job in own if job.finished],
            "tried": _tried(p, study),
            "rows": [row for job in own for row in _rows(job)],
        }
        (p.out / "records").mkdir(exist_ok=True)
        write_json(p.out / "records" / f"{study}.json", record)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _cost(p: Protocol, job: MethodJob) -> dict[str, Any]:
    """Wall clock; a job of the comparisons has the whole machine."""
    return {"minutes": round(_read(marker(p.out, job.name))["seconds"] / 60, 2)}


def _base(p: Protocol, name: str) -> dict[str, Any]:
    file = p.out / "base" / name / "run.json"
    found = _read(file) if file.is_file() else {}
    results = found.get("results") or {}
    size = found.get("ledger", {}).get("parameters", {}).get("total")
    return {"attention": name, "parameters": size} | {key: results.get(key) for key in ("tokens", "final_loss")}


def _tried(p: Protocol, study: str) -> dict[str, list[dict[str, Any]]]:
    """Of every tried thing and task the candidates with what they reached, and the one that was taken."""
    if study == "linking":
        return {kind: [_tried_rates(p, kind)] for kind in KINDS}
    return {
        name: [_tried_on(p, name, task) for task in p.tried_on(name)]
        for name, tried in TRIED.items()
        if tried.study == study
    }


def _tried_on(p: Protocol, name: str, task: str) -> dict[str, Any]:
    file = p.out / p.trial(name, task) / "finetuning.json"
    rows = _read(file)["rows"] if file.is_file() else []
    scores = {row["way"]: row.get(TRIED[name].metric) for row in rows}
    candidates = [
        {"settings": list(candidate), TRIED[name].metric: scores.get(f"{name}-{i}")}
        for i, candidate in enumerate(TRIED[name].candidates)
    ]
    return {"task": task, "candidates": candidates, "chosen": list(p.chosen(name, task))}


def _tried_rates(p: Protocol, kind: str) -> dict[str, Any]:
    scores = p.linking_tried()[kind]
    candidates = [{"settings": [f"learning_rate={rate:g}"], "accuracy@1": scores.get(rate)} for rate in LINKING_RATES]
    return {"task": p.corpora[0], "candidates": candidates, "chosen": [f"learning_rate={p.linking_rates()[kind]:g}"]}


def _rows(job: MethodJob) -> list[dict[str, Any]]:
    """Of a job that failed, or is not finished, what there is."""
    folder, kind = job.directory, job.arguments[0]
    if job.name.startswith("trials/"):
        return []
    if kind == "link":
        return _linked(folder, job.row["corpus"])
    file = folder / ("results.json" if kind in ("compare", "bench") else "finetuning.json")
    if not file.is_file():
        return []
    found = _read(file)
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


def _linked(folder: Path, corpus: str) -> list[dict[str, Any]]:
    """A row a run, and a row a pair of encoders and a seed: McNemar's test over mentions, of accuracy@1.

    Of the mentions that one encoder alone links, `only` and `only_other`, only ~ Binomial(only + only_other, 1/2) if
    neither is better.
    """
    rows, right = [], dict[tuple[str, int], list[bool]]()
    for file in sorted(folder.glob("runs/*/seed-*/run.json")):
        record = _read(file)
        if record["status"] == "finished":
            name, seed = record["encoder"], record["seed"]
            rows.append(
                {
                    "kind": "linked",
                    "corpus": corpus,
                    "encoder": name,
                    "encoder_kind": record["encoder_kind"],
                    "seed": seed,
                }
                | {key: record["results"][key] for key in LINKED}
                | {"mentions": record["results"]["mentions"]}
            )
            lines = file.with_name("predictions.jsonl").read_text(encoding="utf-8").splitlines()
            right[name, seed] = [json.loads(line)["right@1"] for line in lines]
    names = sorted({name for name, _ in right})
    for one in names:
        for other in names:
            for seed in sorted({seed for name, seed in right if name == one}):
                theirs = right.get((other, seed), right.get((other, 1)))  # trigrams have one run
                if one != other and theirs is not None:
                    pairs = list(zip(right[one, seed], theirs, strict=True))
                    only, only_other = pairs.count((True, False)), pairs.count((False, True))
                    apart = only + only_other
                    p_value = float(stats.binomtest(only, apart).pvalue) if apart else 1.0
                    rows.append({"kind": "paired", "corpus": corpus, "encoder": one, "other": other, "seed": seed,
                                 "only": only, "only_other": only_other, "mentions": len(pairs),
                                 "p_value": p_value})  # fmt: skip
    return rows

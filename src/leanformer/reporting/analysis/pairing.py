"""Pairs: the runs of a mechanism and of the baseline with the same seed, hence data order, masks and initial values.

Two runs whose losses are not comparable (other data, tokenizer or validation targets) are refused as a pair. Two runs
that differ in anything but attention and learning rate (another setting, precision, machine or version) are a pair, and
the report names the differences.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from leanformer.records.renamed import current_name
from leanformer.reporting.numbers.quantities import listed
from leanformer.reporting.records.runs import FineTuning, Run
from leanformer.reporting.records.study import Study

OWN = ("model.attention", "training.learning_rate")
"""Prefixes of the settings in which the runs of a pair may differ."""
MATCHES = {
    "parameters": ("model.intermediate_size",),
    "width": ("model.hidden_size", "model.intermediate_size"),
    "flops": ("training.max_steps", "training.max_tokens"),
    "config": ("model.", "training."),
}
"""The settings that a comparison computes for an arm, or reads from its file."""
ONE_SCALE = (
    ("data.hash", "their data"),
    ("data.tokenizer_hash", "their tokenizer"),
    ("data.vocab_size", "their vocabulary"),
    ("floor.context_free", "their validation targets"),
)
BUDGET = ("training.max_steps", "training.max_tokens", "training.max_seconds", "training.batch_size")
MAKERS = {
    "hardware": ("precision", "device", "gpu", "cpu"),
    "versions": ("leanformer", "torch", "transformers"),
}
"""The properties of a run's machine and program that may change its loss."""
MAKER_NAMES = {"gpu": "GPU", "cpu": "CPU"}
AUTO = '; training.precision = "auto" gives float32 on one CPU and bfloat16 on another'
PACKAGES = ("leanformer", "commit", "torch", "transformers", "python")


@dataclass(frozen=True)
class Pairs:
    pairs: tuple[tuple[Run, Run], ...]
    """(mechanism, baseline) of every pair."""
    refused: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def pairs(study: Study, attention: str) -> Pairs:
    assert study.baseline is not None
    other = {run.seed: run for run in study.at(study.baseline)}
    kept: list[tuple[Run, Run]] = []
    refused: dict[str, list[int]] = {}
    doubts: dict[str, list[int]] = {}
    for run in study.at(attention):
        if run.seed not in other:
            continue
        if reason := _not_on_one_scale(run, other[run.seed]):
            refused.setdefault(reason, []).append(run.seed)
            continue
        kept.append((run, other[run.seed]))
        for doubt in _differences(run, other[run.seed]):
            doubts.setdefault(doubt, []).append(run.seed)
    names = f"{attention} and {study.baseline}"
    return Pairs(
        tuple(kept),
        tuple(
            f"{names} are not compared {_at(seeds)}: {why} differ, so their losses do."
            for why, seeds in refused.items()
        ),
        tuple(f"{names} are not a true pair {_at(seeds)}: they differ in {what}." for what, seeds in doubts.items()),
    )


def paired_finetunings(
    run: Run, other: Run, task: str, *, collapsed: bool = True
) -> list[tuple[FineTuning, FineTuning]]:
    """Returns the pairs with the same seed that both runs finished; unless `collapsed`, without collapsed ones."""
    ours, theirs = (
        {t.seed: t for t in r.finetunings if t.task == task and t.status == "finished" and t.score is not None}
        for r in (run, other)
    )
    both = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    return [pair for pair in both if collapsed or not (pair[0].collapsed or pair[1].collapsed)]


def _at(seeds: Iterable[int]) -> str:
    seeds = sorted(seeds)
    return f"at seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"


def _not_on_one_scale(run: Run, other: Run) -> str | None:
    if _scored(run) != _scored(other):
        return "what they were scored on"
    return next((what for key, what in ONE_SCALE if not _same(_get(run.record, key), _get(other.record, key))), None)


def _scored(run: Run) -> tuple[Any, ...]:
    score = run.scores[run.part] if run.part else {}
    return (run.part, *(score.get(key) for key in ("targets", "sequences", "draws")))


def _same(ours: Any, theirs: Any) -> bool:
    """Whether both are equal, numbers up to rounding, since machines sum in different orders."""
    numbers = isinstance(ours, float) and isinstance(theirs, float)
    return math.isclose(ours, theirs, rel_tol=1e-9) if numbers else ours == theirs


def _get(record: dict[str, Any], dotted: str) -> Any:
    table, key = dotted.split(".")
    return (record.get(table) or {}).get(key)


def _differences(run: Run, other: Run) -> Iterable[str]:
    """Yields the unintended differences.

    The settings in a label, as in `dot_product[model.intermediate_size=640]`, are meant to differ, and so are those
    that a comparison computes for it, as for `dot_product[parameters=shared]`.
    """
    ours, theirs = run.settings, other.settings
    labels = f"{run.attention} {other.attention}"
    found = set(re.findall(r"[\[,](\w+)(?==)", labels)) & MATCHES.keys()
    intended = (
        *OWN,
        *(current_name(key) for key in re.findall(r"(?:model|training)\.[\w.]+(?==)", labels)),
        *(key for name in found for key in MATCHES[name]),
    )
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other_value = (None if value == {} else value for value in (ours.get(key), theirs.get(key)))
        if not key.startswith(intended) and mine != other_value:
            yield f"{key} ({ours.get(key)} against {theirs.get(key)})"
    if "training.seed" in ours and ours["training.seed"] != run.seed:
        yield f"their seed (the plan says {run.seed}, the record {ours['training.seed']})"
    if run.steps != other.steps and not any(key.startswith(intended) for key in BUDGET):
        yield f"steps ({run.steps:,.0f} against {other.steps:,.0f})" if run.steps and other.steps else "steps"
    yield from _makers(run, other)


def _makers(run: Run, other: Run) -> Iterable[str]:
    """Yields differences in precision, machine and versions, where both runs record them."""
    for table, keys in MAKERS.items():
        for key in keys:
            ours, theirs = _get(run.record, f"{table}.{key}"), _get(other.record, f"{table}.{key}")
            if ours is None or theirs is None or ours == theirs:
                continue
            auto = key == "precision" and "auto" in (r.settings.get("training.precision") for r in (run, other))
            yield f"{MAKER_NAMES.get(key, key)} ({ours} against {theirs}{AUTO if auto else ''})"


def unequal_makers(runs: Iterable[Run]) -> list[str]:
    """Returns sentences about runs that were not made by the same program on the same kind of machine."""
    runs = [run for run in runs if run.status == "finished"]
    out = []
    for package in PACKAGES:
        values = {str((run.record.get("versions") or {}).get(package)) for run in runs}
        if len(values) > 1:
            out.append(f"The runs were made with different versions of {package}: {listed(sorted(values))}.")
    machines = {str(run.record.get("hardware")) for run in runs}
    if len(machines) > 1:
        out.append(f"The runs were made on {len(machines)} kinds of machine: their tokens per second do not compare.")
    return out

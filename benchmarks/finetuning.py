"""The effect of fine-tuning methods with wrong labels, with rare classes, and at a sparsity.

    python benchmarks/finetuning.py RUN --task-data TASKS --out OUT --tasks sst2,ag_news --seeds 3 \
        --methods plain,absgd-noise,distance,self-labelling,regsl --label-noise 0,0.2,0.4,0.6
    python benchmarks/finetuning.py RUN --task-data TASKS --out OUT --tasks sst2,ag_news --seeds 3 \
        --methods plain,absgd-rare --imbalance 1,10,100

RUN is a pre-training run or a saved model. `--config` and `--set` give the settings of all methods, and
`--method NAME=KEY=VALUE,KEY=VALUE` those of one, with keys without `finetuning.`; it may replace a known NAME. Wrong
labels, rare classes and initial values are functions of the fine-tuning seed, so methods are paired. The same command
continues where it was stopped:

    OUT/runs/TASK/CONDITION/WAY/seed-S/run.json, ...    a fine-tuning
    OUT/finetuning.json                                 a row per run: score, recalls of classes, right labels' fraction
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leanformer.data.examples import Examples
from leanformer.files import write_json
from leanformer.finetuning.chosen_method import CORRECTIONS
from leanformer.finetuning.run import run_finetuning
from leanformer.finetuning.task_data import TaskData, load_task
from leanformer.robustness.study import trained_on
from leanformer.robustness.training_data import imbalanced, mislabelled
from leanformer.settings import read_settings

DISTANCE = ["regsl.distance=1", "regsl.growth=1.5", "regsl.head_distance=4"]
LABELS = ["regsl.reweight_from=1", "regsl.correct_from=2"]
LOW_RANK = ["method=pst", "sparse.score_rank=0", "sparse.structure_scale=0"]
METHODS = {
    "plain": [],
    "class-weights": ["loss=balanced"],
    "absgd-rare": ["loss=absgd", "absgd.temperature=5"],
    "absgd-noise": ["loss=absgd", "absgd.temperature=-1"],
    "distance": DISTANCE,
    "self-labelling": LABELS,
    "regsl": DISTANCE + LABELS,
    "pst": ["method=pst"],
    "magnitude": ["method=magnitude"],
    "low-rank-magnitude": LOW_RANK,
}


class Condition(NamedTuple):
    label_noise: float
    imbalance: float

    @property
    def name(self) -> str:
        return f"noise-{self.label_noise:g}-imbalance-{self.imbalance:g}"

    def spoilt(self, examples: Examples, classes: int, seed: int) -> tuple[Examples, Examples]:
        """Returns (the training examples, the same with right labels)."""
        right = examples if self.imbalance == 1 else imbalanced(examples, classes, self.imbalance, seed)
        return (mislabelled(right, classes, self.label_noise, seed) if self.label_noise else right), right


def main() -> None:
    options = arguments()
    methods = METHODS | dict(options.method)
    rows: list[dict[str, Any]] = []
    for task in options.tasks:
        plain = read_settings(options.config, options.set).finetuning_for(task)
        loaded = load_task(options.run, task, options.task_data, plain)
        for condition, seed in conditions(options):  # methods are innermost, so that an incomplete grid is balanced
            own, right = spoilt(loaded, condition, plain, seed)
            for name in options.methods:
                changes = [f"finetuning.{change}" for change in methods[name]]
                settings = read_settings(options.config, [*options.set, *changes]).finetuning_for(task)
                place = options.out / "runs" / task / condition.name / name / f"seed-{seed}"
                row = {"task": task, "way": name, **condition._asdict(), "seed": seed}
                try:
                    record = run_finetuning(own, replace(settings, seed=seed), place, keep_model=False, quiet=True)
                    row |= measured(record["results"], own, right, place)
                except ArithmeticError as error:
                    row |= {"score": None, "failed": str(error)}
                rows.append(row)
                write_json(options.out / "finetuning.json", {"schema": 1, "kind": "finetuning-methods", "rows": rows})
                print(*(f"{key} {value}" for key, value in row.items() if not isinstance(value, dict)), flush=True)
    for line in means(rows):
        print(line)


def conditions(options: argparse.Namespace) -> Iterator[tuple[Condition, int]]:
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for noise in options.label_noise:
            for imbalance in options.imbalance:
                yield Condition(noise, imbalance), seed


def spoilt(loaded: TaskData, condition: Condition, settings: Any, seed: int) -> tuple[TaskData, Examples]:
    if condition == Condition(0, 1):
        return loaded, loaded.train.examples
    if not loaded.task.labels:
        raise ValueError(f"{loaded.task.name} has no labels to spoil: leave it out, or the noise and the imbalance")
    examples, right = condition.spoilt(loaded.train.examples, len(loaded.task.labels), seed)
    return trained_on(loaded, settings, examples), right


def measured(results: dict[str, Any], own: TaskData, right: Examples, place: Path) -> dict[str, Any]:
    row = {key: results[key] for key in ("score", "metrics", "collapsed", "seconds") if key in results}
    row |= {key: results[key] for key in ("sparse", "corrected_labels") if key in results}
    if own.task.labels and own.task.kind == "classification":
        lines = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
        found = {
            label: statistics.fmean(line["prediction"] == label for line in lines if line["label"] == label)
            for label in sorted({line["label"] for line in lines})
        }
        row |= {"mean_recall": statistics.fmean(found.values()), "lowest_recall": min(found.values())}
        labels = own.train.examples.labels.copy()
        row["right_labels"] = float(np.mean(labels == right.labels))
        if (place / CORRECTIONS).is_file():
            for line in (place / CORRECTIONS).read_text().splitlines():
                labels[json.loads(line)["row"]] = json.loads(line)["label"]
            row["right_labels_in_the_end"] = float(np.mean(labels == right.labels))
    return row


def means(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields lines with the scores over seeds, and their paired differences from the first method."""
    keys = list(dict.fromkeys((row["task"], row["label_noise"], row["imbalance"]) for row in rows))
    names = list(dict.fromkeys(row["way"] for row in rows))
    for key in keys:
        cell = {name: {} for name in names}
        for row in rows:
            if (row["task"], row["label_noise"], row["imbalance"]) == key and row["score"] is not None:
                cell[row["way"]][row["seed"]] = 100 * row["score"]
        for name in names:
            both = cell[name].keys() & cell[names[0]].keys()
            gains = [cell[name][seed] - cell[names[0]][seed] for seed in sorted(both)]
            spread = f" (sd {statistics.stdev(gains):.1f})" if len(gains) > 1 else ""
            said = f"{statistics.fmean(gains):+.1f}{spread}, {len(gains)} seeds" if gains else "-"
            mean = f"{statistics.fmean(cell[name].values()):.1f}" if cell[name] else "-"
            yield f"{key[0]} noise {key[1]:g} imbalance {key[2]:g} {name}: {mean}, against {names[0]} {said}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [float(part) for part in text.split(",")]  # noqa: E731
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("run", type=Path)
    parser.add_argument("--task-data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", type=words, required=True)
    parser.add_argument("--methods", type=words, default=list(METHODS))
    parser.add_argument("--method", type=method, action="append", default=[], metavar="NAME=KEY=VALUE,...")
    parser.add_argument("--label-noise", type=numbers, default=[0.0])
    parser.add_argument("--imbalance", type=numbers, default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    unknown = sorted(set(options.methods) - METHODS.keys() - {name for name, _ in options.method})
    if unknown:
        parser.error(f"--methods {unknown[0]}: known are {', '.join(METHODS)}, others by --method")
    return options


def method(text: str) -> tuple[str, list[str]]:
    name, _, changes = text.partition("=")
    return name, changes.split(",") if changes else []


if __name__ == "__main__":
    main()

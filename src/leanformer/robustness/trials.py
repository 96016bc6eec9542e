"""A fine-tuned model on texts other than those it was made for; each trial is kept as soon as it is made.

    tests.json      {"tests": [{axis, at, score, metrics, collapsed, changed, examples, hash}, ...]}

beside run.json: `changed` is the share of words that differ from the clean text, `hash` tells that two models read the
same text.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from leanformer.data import tasks
from leanformer.data.examples import Examples, load
from leanformer.data.tasks import Task
from leanformer.evaluation import metrics, pretrained
from leanformer.evaluation.inputs.table import encode
from leanformer.evaluation.metrics import Predicted
from leanformer.evaluation.prediction import answer
from leanformer.files import write_json
from leanformer.finetuning.task_data import TaskData
from leanformer.models import LeanformerPreTrainedModel
from leanformer.records import reading
from leanformer.records.studies import Tests
from leanformer.robustness.noise import disturbed
from leanformer.robustness.plan import TRANSFER, Plan, Point
from leanformer.settings import FinetuningSettings

TESTS = "tests.json"

Splits = Mapping[str, Examples]


class Texts:
    """What the models of one task are tested on: a function of the point and the seed."""

    def __init__(self, plan: Plan, task: Task, clean: Splits) -> None:
        self.plan, self.task, self.clean = plan, task, clean

    def at(self, point: Point, seed: int) -> tuple[Splits, float]:
        """(the examples of each split, the share of words that differ from the clean ones)"""
        if point.axis == TRANSFER:
            return self.others[str(point.at)], 0.0
        noise, level = self.plan.functions[point.axis], float(point.at)
        made = {split: disturbed(examples, noise, level, seed) for split, examples in self.clean.items()}
        return {split: examples for split, (examples, _) in made.items()}, max(share for _, share in made.values())

    @cached_property
    def others(self) -> dict[str, Splits]:
        """The other tasks' examples, their labels numbered as this task's."""
        limit = self.plan.settings.finetuning_for(self.task.name).max_eval_examples
        others: dict[str, Splits] = {}
        for name in self.plan.transfer:
            found = load(tasks.task(name), self.plan.task_data)[1]
            own = {split: examples.subset(limit) for split, examples in found.items()}
            others[name] = {split: relabelled(examples, tasks.task(name), self.task) for split, examples in own.items()}
        return others


def relabelled(examples: Examples, source: Task, target: Task) -> Examples:
    """The labels by name: position in the one task's labels -> position in the other's."""
    positions = [target.labels.index(name) for name in source.labels]
    return examples._replace(labels=examples.labels.dtype.type(positions)[examples.labels])


def run_tests(folder: Path, loaded: TaskData, texts: Texts, settings: FinetuningSettings, seed: int) -> None:
    """Those of the plan's tests that `folder`, a finished fine-tuning with its model, does not hold yet."""
    done = read_tests(folder)
    missing = [point for point in texts.plan.tests(loaded.task.name) if point not in done]
    if not missing:
        return
    model = pretrained.load_as_saved(folder / "model")
    for point in missing:
        splits, changed = texts.at(point, seed)
        found = {"changed": changed, **_tested(model, loaded, splits, settings)}
        done[point] = {"axis": point.axis, "at": point.at, **found}
        write_json(folder / TESTS, {"schema": reading.SCHEMA, "kind": "robustness-tests", "tests": list(done.values())})


def read_tests(folder: Path) -> dict[Point, dict[str, Any]]:
    file = folder / TESTS
    if not file.is_file():
        return {}
    found = reading.read(file, Tests, "delete it, and its tests are made again")
    return {Point(test["axis"], test["at"]): test for test in found["tests"]}


def _tested(
    model: LeanformerPreTrainedModel, loaded: TaskData, splits: Splits, settings: FinetuningSettings
) -> dict[str, Any]:
    predicted = {}
    for split, examples in splits.items():
        encoded = encode(loaded.task, loaded.tokenizer, examples, settings.max_length)
        answers = answer(model, encoded, model.device)
        predicted[split] = Predicted(examples.labels, answers.read.predictions, examples.groups)
    return {
        **metrics.score(loaded.task, predicted),
        "examples": sum(len(examples.labels) for examples in splits.values()),
        "hash": {split: examples.hash for split, examples in splits.items()},
    }

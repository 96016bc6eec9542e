"""Whether a command may go on with the comparison that a directory holds: the plan, and every run that is there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from leanformer.comparison.plan import Plan
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.tasks import task as find_task
from leanformer.records.difference import Difference, difference
from leanformer.records.studies import ContinuedComparison
from leanformer.settings.finetuning import other_settings
from leanformer.study.directory import StudyDirectory
from leanformer.training.objectives.table import model_config
from leanformer.training.optimizers.parameter_groups import changed_multipliers
from leanformer.training.run.provenance import DEFAULTS, experiment, identity, run_difference
from leanformer.training.run.record import RunDirectory


def directory_of(out: Path) -> StudyDirectory:
    return StudyDirectory(out, "comparison.json", ContinuedComparison, "comparison")


def earlier(out: Path) -> dict[str, Any] | None:
    """comparison.json of the comparison in `out`, None if there is none."""
    return directory_of(out).read()


def check_continues(directory: Path, plan: Plan, *, resume: bool) -> None:
    """Refuse a directory that holds something else; with `resume`, more arms, seeds, rates and tasks are welcome."""
    study = directory_of(directory)
    if not study.record.exists():
        if resume:
            raise FileNotFoundError(f"{directory} holds no comparison to resume: leave --resume out to start one")
        return study.require_free(but=("data",))
    if not resume:
        raise FileExistsError(
            f"{directory} holds a comparison already: add --resume to go on with it, or give another --out"
        )
    before = study.read()
    assert before is not None
    study.require_same(invariants(before), invariants(plan.record()))
    _check_names(directory, before, plan)
    _check_tuning(directory, before, plan)


def _check_names(directory: Path, before: dict[str, Any], plan: Plan) -> None:
    """An arm keeps its name, and a name its arm, since it names the folders of the runs."""
    aliases = before.get("aliases") or {}
    labels = dict.fromkeys([*before.get("attention", []), *(run["attention"] for run in before.get("runs", []))])
    arms = {label: aliases.get(label, label) for label in labels}
    for variant in plan.variants:
        if (arm := arms.get(variant.label, variant.definition)) != variant.definition:
            raise ValueError(
                f"--attention: {variant.label} is {arm} in {directory}, not {variant.definition}: give another alias"
            )
        if variant.label not in arms and (names := [label for label, arm in arms.items() if arm == variant.definition]):
            raise ValueError(
                f"--attention: {variant.definition} has the name {names[0]} in {directory}, not {variant.label}: "
                "repeat its name, or give another --out"
            )


def _check_tuning(directory: Path, before: dict[str, Any], plan: Plan) -> None:
    """The runs that chose a learning rate go on counting, and none of them is reported."""
    if before["learning_rates"] is None:
        return
    if not before.get("tuning_seeds"):
        raise ValueError(
            f"{directory} chose its learning rates on the reported seeds, as older versions did, and cannot go on: "
            "report it with leanformer report, or give another --out"
        )
    for option, old, now in (
        ("--learning-rates", before["learning_rates"], plan.learning_rates or []),
        ("--tuning-seeds", before["tuning_seeds"], plan.tuning_seeds),
    ):
        if gone := [value for value in old if value not in now]:
            raise ValueError(
                f"{directory} was started with {option} {','.join(f'{v:g}' for v in old)}, this command leaves out "
                f"{gone[0]:g}: add it, or give another --out"
            )
    reported = {run["seed"] for run in before["runs"] if not run.get("tuning")}
    if both := sorted(reported & set(plan.tuning_seeds)):
        raise ValueError(f"--tuning-seeds: seed {both[0]} is a reported one in {directory}: give another number")


def invariants(record: dict[str, Any]) -> dict[str, Any]:
    """What may not change between the runs of one comparison. A training setting that its version of leanformer did not
    have yet has its default."""
    flat = {key: value for key, value in DEFAULTS.items() if key.startswith("training.")}
    flat["data.hash"] = record["data"]["hash"]
    for table, values in record["settings"].items():
        whole = table == "training"  # the tables in [finetuning] are a task's own
        flat |= {f"{table}.{key}": value for key, value in values.items() if whole or not isinstance(value, dict)}
    flat["training.lr_multipliers"] = changed_multipliers(flat.get("training.lr_multipliers") or {})
    for key in ("model.attention", "training.seed", "finetuning.seed", "training.threads", "finetuning.threads"):
        flat.pop(key, None)
    if record["learning_rates"] is not None:
        flat.pop("training.learning_rate", None)
    return flat


def check_runs(out: Path, plan: Plan, corpus: Prepared) -> None:
    """ValueError names the first run in the comparison's directory that was made with other settings or data than the
    plan's, finished or not. A setting that its version of leanformer did not have yet is none."""
    train_hash = cache(partial(_train_hash, plan))
    for run in plan.runs:
        directory = RunDirectory(out / run.path)
        if directory.record.exists():
            before = directory.read()
            settings = run.settings(plan.settings)
            now = experiment(settings.training, model_config(settings, corpus), corpus, plan.plugin)
            newer = identity(now).keys() - identity(before).keys()
            _require_same(directory.path, run_difference(before, now, newer))
        for task in plan.tasks:
            for number, folder in enumerate(task_directories(out / run.path, task, plan), 1):
                if (folder / "run.json").exists():
                    _require_same(
                        folder, _other_task(RunDirectory(folder).read(), plan, corpus, task, number, train_hash)
                    )


def task_directories(run: Path, task: str, plan: Plan) -> list[Path]:
    return [run / "tasks" / task / f"seed-{seed}" for seed in range(1, plan.task_seeds + 1)]


def has_task(run: Path, task: str, plan: Plan) -> bool:
    """Whether all that the task asks of the run is done."""
    return all(RunDirectory(folder).finished for folder in task_directories(run, task, plan))


def _other_task(
    before: Mapping[str, Any], plan: Plan, corpus: Prepared, task: str, seed: int, train_hash: Callable[[str], str]
) -> Difference | None:
    """What the fine-tuning or the texts of a finished record were made with that the plan has otherwise."""
    if before.get("status") != "finished":  # it starts over
        return None
    hashes = (before.get("data") or {}).get("hash")
    if plan.generates:
        return difference({"data.hash": hashes}, {"data.hash": corpus.hash})
    found = other_settings(before, replace(plan.settings.finetuning_for(task), seed=seed))
    if found is not None:
        return found
    recorded = hashes.get("train") if isinstance(hashes, Mapping) else hashes
    return difference({"data.hash of train": recorded}, {"data.hash of train": train_hash(task)})


def _train_hash(plan: Plan, task: str) -> str:
    """Returns the hash of the examples that each fine-tuning on the task learns from."""
    examples = load(find_task(task), plan.task_data or "")[0]
    return examples.subset(plan.settings.finetuning_for(task).max_train_examples).hash


def _require_same(run: Path, found: Difference | None) -> None:
    if found is not None:
        raise ValueError(f"{run} was made with {found}: repeat its settings, or give another --out")

"""Whether a command may go on with the comparison that a directory holds: the plan, and every run that is there."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from leanformer.comparison.plan import Plan
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.tasks import task as find_task
from leanformer.files import holdings
from leanformer.records import reading
from leanformer.records.studies import ContinuedComparison
from leanformer.settings import FinetuningSettings
from leanformer.training.objectives.table import model_config
from leanformer.training.run.provenance import difference, experiment, identity
from leanformer.training.run.record import RunDirectory


def earlier(directory: Path) -> dict[str, Any] | None:
    """comparison.json of the comparison that the directory holds, None if there is none."""
    file = directory / "comparison.json"
    return reading.read(file, ContinuedComparison, "restore it, or give another --out") if file.exists() else None


def check_continues(directory: Path, plan: Plan, *, resume: bool) -> None:
    """Refuse a directory that holds something else; with `resume`, more arms, seeds, rates and tasks are welcome."""
    file = directory / "comparison.json"
    if not file.exists():
        if resume:
            raise FileNotFoundError(f"{directory} holds no comparison to resume: leave --resume out to start one")
        if directory.exists() and set(holdings(directory)) - {"data"}:
            raise FileExistsError(f"{directory} is not empty and holds no comparison: give another --out")
        return
    if not resume:
        raise FileExistsError(
            f"{directory} holds a comparison already: add --resume to go on with it, or give another --out"
        )
    before = earlier(directory)
    assert before is not None
    old, now = invariants(before), invariants(plan.record())
    for key in sorted(old.keys() | now.keys()):
        if old.get(key) != now.get(key):
            raise ValueError(
                f"{directory} was started with {key} = {old.get(key)!r}, this command says {now.get(key)!r}: "
                "repeat the earlier setting, or give another --out"
            )
    _check_tuning(directory, before, plan)


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
    """What may not change between the runs of one comparison."""
    flat = {"data.hash": record["data"]["hash"]}
    for table, values in record["settings"].items():
        whole = table == "training"  # the tables in [finetuning] are a task's own
        flat |= {f"{table}.{key}": value for key, value in values.items() if whole or not isinstance(value, dict)}
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
            _require_same(directory.path, difference(before, now, newer))
        for task in plan.tasks:
            for number, folder in enumerate(task_directories(out / run.path, task, plan), 1):
                if (folder / "run.json").exists():
                    _require_same(
                        folder, _other_task(RunDirectory(folder).read(), plan, corpus, task, number, train_hash)
                    )


def task_directories(run: Path, task: str, plan: Plan) -> list[Path]:
    return [run / "tasks" / task / f"seed-{seed}" for seed in range(1, plan.task_seeds + 1)]


def is_finished(run: Path) -> bool:
    """Whether the directory holds a run that has reached its end."""
    directory = RunDirectory(run)
    return directory.record.exists() and directory.read().get("status") == "finished"


def has_task(run: Path, task: str, plan: Plan) -> bool:
    """Whether all that the task asks of the run is done."""
    return all(map(is_finished, task_directories(run, task, plan)))


def _other_task(
    before: Mapping[str, Any], plan: Plan, corpus: Prepared, task: str, seed: int, train_hash: Callable[[str], str]
) -> str | None:
    """What the fine-tuning or the texts of a finished record were made with that the plan has otherwise, in words."""
    if before.get("status") != "finished":  # it starts over
        return None
    hashes = (before.get("data") or {}).get("hash")
    if plan.generates:
        return _differing({"data.hash": hashes}, {"data.hash": corpus.hash})
    settings = replace(plan.settings.finetuning_for(task), seed=seed)
    plain = asdict(FinetuningSettings())
    old = plain | ((before.get("settings") or {}).get("finetuning") or {})
    found = _differing(old, plain | settings.to_dict(), but=("threads",))
    if found is not None:
        return f"finetuning.{found}"
    recorded = hashes.get("train") if isinstance(hashes, Mapping) else hashes
    return _differing({"data.hash of train": recorded}, {"data.hash of train": train_hash(task)})


def _train_hash(plan: Plan, task: str) -> str:
    """Of the examples that each fine-tuning on the task learns from."""
    examples = load(find_task(task), plan.task_data or "")[0]
    return examples.subset(plan.settings.finetuning_for(task).max_train_examples).hash


def _differing(old: Mapping[str, Any], now: Mapping[str, Any], but: tuple[str, ...] = ()) -> str | None:
    for key in sorted(now.keys() - set(but)):
        if old.get(key) != now[key]:
            return f"{key} = {old.get(key)!r}, not {now[key]!r}"
    return None


def _require_same(run: Path, changed: str | None) -> None:
    if changed is not None:
        raise ValueError(f"{run} was made with {changed}: repeat its settings, or give another --out")

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
from leanformer.training.provenance import difference, experiment, identity
from leanformer.training.recipes import model_config
from leanformer.training.record import RunDirectory


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
    before = reading.read(file, ContinuedComparison, "restore it, or give another --out")
    earlier, now = _invariants(before), _invariants(plan.record())
    for key in sorted(earlier.keys() | now.keys()):
        if earlier.get(key) != now.get(key):
            raise ValueError(
                f"{directory} was started with {key} = {earlier.get(key)!r}, this command says {now.get(key)!r}: "
                "repeat the earlier setting, or give another --out"
            )


def _invariants(record: dict[str, Any]) -> dict[str, Any]:
    """What may not change between the runs of one comparison."""
    flat = {"data.hash": record["data"]["hash"]}
    for table, values in record["settings"].items():
        flat |= {f"{table}.{key}": value for key, value in values.items() if not isinstance(value, dict)}
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

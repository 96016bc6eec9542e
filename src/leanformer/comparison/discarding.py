"""`--discard-models`: a run whose scores and tasks are done keeps its records, and loses its weights.

run.json then says `"model_discarded": true` beside the sha256 of the model, and counts as finished all the same. What
is left is small: a comparison can go on from it on another machine.
"""

from pathlib import Path

from leanformer.comparison.continuing import has_task
from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.files import remove_directory
from leanformer.training.run.record import RunDirectory


def discard_models(out: Path, plan: Plan, runs: list[PlannedRun]) -> None:
    """Delete model and checkpoints of every one of the plan's `runs` that needs them no more."""
    for run in runs:
        directory = RunDirectory(out / run.path)
        weights = [folder for folder in (directory.model, directory.checkpoints) if folder.is_dir()]
        tasks = () if run.tuning else plan.tasks
        if weights and directory.finished and all(has_task(directory.path, task, plan) for task in tasks):
            directory.update(model_discarded=True)  # first: a kill here leaves weights that the next call deletes
            for folder in weights:
                remove_directory(folder)


def check_models(out: Path, finetunings: list[tuple[PlannedRun, str]]) -> None:
    """ValueError names the first run whose model is needed for a task and was discarded."""
    for run, task in finetunings:
        directory = RunDirectory(out / run.path)
        if directory.record.exists() and directory.read().get("model_discarded"):
            raise ValueError(
                f"{directory.path} has no model any more (--discard-models), so {task} cannot be added: leave it out, "
                "or give another --out"
            )

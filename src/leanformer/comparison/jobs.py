"""The commands that a comparison runs, one process each: pre-training, fine-tuning, and texts that are written."""

from pathlib import Path

from leanformer.comparison.continuing import task_directories
from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.runner import Job
from leanformer.training.run.record import RunDirectory


def pretraining(run: PlannedRun, plan: Plan, out: Path, threads: int, steps: int) -> Job:
    directory = out / run.path
    begun = RunDirectory(directory).record.exists()
    if begun:  # Sums depend on how many threads share them: a resumed run keeps its number.
        threads = RunDirectory(directory).read()["settings"]["training"]["threads"]
    overrides = [*run.overrides(), f"training.threads={threads}"]
    arguments = ["pretrain", str(out / "settings.json"), "--data", plan.data["path"], "--out", str(directory)]
    arguments += [argument for override in overrides for argument in ("--set", override)]
    arguments += ["--plugin", plan.plugin] if plan.plugin else []
    arguments += ["--quiet"] + (["--resume"] if begun else [])
    return Job(
        name=_name(run, plan),
        arguments=tuple(arguments),
        log=out / "logs" / f"{run.path.removeprefix('runs/').replace('/', '-')}.log",
        curve=directory / "curve.jsonl",
        total=steps,
    )


def finetuning(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int) -> Job:
    directory = out / run.path
    arguments = ["finetune", str(directory), "--task", task, "--task-data", str(plan.task_data)]
    arguments += ["--out", str(directory / "tasks" / task), "--seeds", str(plan.task_seeds)]
    arguments += [
        "--config",
        str(out / "settings.json"),
        "--set",
        f"finetuning.threads={threads}",
        "--discard-model",
        "--quiet",
    ]
    arguments += ["--plugin", plan.plugin] if plan.plugin else []
    return Job(
        name=f"{_name(run, plan)} {task}",
        arguments=tuple(arguments),
        log=out / "logs" / f"{run.path.removeprefix('runs/').replace('/', '-')}-{task}.log",
    )


def generation(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int) -> Job:
    """Writes and scores the first test split; the only "seed" is 1."""
    directory = out / run.path
    arguments = ["evaluate", str(directory), "--suite", "generation", "--data", plan.data["path"]]
    arguments += ["--out", str(task_directories(directory, task, plan)[0]), "--threads", str(threads), "--quiet"]
    arguments += ["--plugin", plan.plugin] if plan.plugin else []
    return Job(
        name=f"{_name(run, plan)} {task}",
        arguments=tuple(arguments),
        log=out / "logs" / f"{run.path.removeprefix('runs/').replace('/', '-')}-{task}.log",
    )


def _name(run: PlannedRun, plan: Plan) -> str:
    rate = "" if plan.learning_rates is None else f" rate {run.learning_rate:g}"
    return f"{run.variant.label}{rate} {'tuning ' * run.tuning}seed {run.seed}"

"""The commands that a comparison runs, one process each: pre-training, fine-tuning, and texts that are written."""

from pathlib import Path

from leanformer.comparison.continuing import task_directories
from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.study.job import Job
from leanformer.training.run.record import RunDirectory


def pretraining(run: PlannedRun, plan: Plan, out: Path, threads: int, steps: int, seconds: float) -> Job:
    directory = RunDirectory(out / run.path)
    if directory.record.exists():  # Sums depend on how many threads share them: a resumed run keeps its number.
        threads = directory.read()["settings"]["training"]["threads"]
    overrides = [*run.overrides(), f"training.threads={threads}"]
    arguments = ["pretrain", str(out / "settings.json"), "--data", plan.data["path"], "--out", str(directory.path)]
    arguments += [argument for override in overrides for argument in ("--set", override)]
    return _job(run, plan, out, directory.path, arguments, steps=steps, seconds=seconds)


def finetuning(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int, seconds: float) -> Job:
    directory = out / run.path
    arguments = ["finetune", str(directory), "--task", task, "--task-data", str(plan.task_data)]
    arguments += ["--out", str(directory / "tasks" / task), "--seeds", str(plan.task_seeds)]
    arguments += ["--config", str(out / "settings.json"), "--set", f"finetuning.threads={threads}", "--discard-model"]
    return _job(run, plan, out, directory / "tasks" / task, arguments, task, seconds=seconds)


def generation(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int, seconds: float) -> Job:
    """Writes and scores the first test split; the only "seed" is 1."""
    directory = out / run.path
    arguments = ["evaluate", str(directory), "--suite", "generation", "--data", plan.data["path"]]
    arguments += ["--out", str(task_directories(directory, task, plan)[0]), "--threads", str(threads)]
    return _job(run, plan, out, directory / "tasks" / task, arguments, task, seconds=seconds)


def _job(
    run: PlannedRun,
    plan: Plan,
    out: Path,
    directory: Path,
    arguments: list[str],
    task: str = "",
    steps: int = 0,
    seconds: float = 0.0,
) -> Job:
    rate = "" if plan.learning_rates is None else f" rate {run.learning_rate:g}"
    name = f"{run.variant.label}{rate} {'tuning ' * run.tuning}seed {run.seed}"
    log = run.path.removeprefix("runs/").replace("/", "-")
    return Job(
        name=f"{name} {task}".rstrip(),
        directory=directory,
        arguments=(*arguments, *(("--plugin", plan.plugin) if plan.plugin else ()), "--quiet"),
        log=out / "logs" / f"{log}{f'-{task}' if task else ''}.log",
        steps=steps,
        seconds=seconds,
    )

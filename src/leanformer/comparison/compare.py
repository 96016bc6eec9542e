"""A whole comparison: plan, cost, pre-training runs, fine-tuning runs, report. One process a run.

Whatever happens, what is finished stays: a later `--resume` skips it, resumes what was begun and starts the rest.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from leanformer.comparison.continuing import check_continues, check_runs, task_directories
from leanformer.comparison.estimate import Estimator, objective_of
from leanformer.comparison.matching import matched
from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.runner import Job, run_jobs
from leanformer.comparison.variants import Variant
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.generation_tasks import require_packages
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import task as find_task
from leanformer.files import write_json
from leanformer.locks import NAME as LOCK
from leanformer.locks import claimed
from leanformer.records.reading import sealed
from leanformer.report import best_rates, write_report
from leanformer.settings import Settings
from leanformer.training.objective import PretrainingObjective
from leanformer.training.recipes import RECIPES, model_config
from leanformer.training.record import RunDirectory

PATIENCE = 60.0
"""Seconds that runs of an earlier start, whose command was killed, have for saving their work."""


def compare(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    variants: list[Variant],
    seeds: list[int],
    learning_rates: list[float] | None = None,
    tasks: list[str] | None = None,
    task_data: str | None = None,
    task_seeds: int = 1,
    jobs: int | None = None,
    plugin: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Run what is still to run of the comparison in `out`, then write its report; returns the report's results."""
    recipe = RECIPES[settings.training.objective]
    corpus = recipe.open(data)
    variants, matches = matched(variants, settings, corpus)
    plan = Plan(
        settings=settings,
        variants=variants,
        seeds=seeds,
        learning_rates=learning_rates,
        tasks=_tasks(settings, corpus, tasks or [], task_seeds),
        task_seeds=task_seeds,
        task_data=task_data,
        data={"path": str(data), "hash": corpus.hash, "tokenizer_hash": corpus.tokenizer_hash},
        plugin=None if plugin is None else str(plugin),
        command=command,
    )
    objective, notes = _check(plan, corpus)
    console = Console(quiet=quiet, highlight=False)
    for note in [*matches, *notes]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    with nullcontext() if dry_run else claimed(out):
        check_continues(out, plan, resume=resume)
        check_runs(out, plan, corpus)
        return _carry_out(plan, corpus, objective, out, jobs, dry_run, console)


def _carry_out(
    plan: Plan,
    corpus: Prepared,
    objective: PretrainingObjective,
    out: Path,
    jobs: int | None,
    dry_run: bool,
    console: Console,
) -> dict[str, Any]:
    """What is still to run, and the report."""
    workers, threads = _share_of_the_machine(jobs, len(plan.runs), plan.settings)
    runs = [run for run in plan.runs if not _finished(out / run.path)]
    finetunings = [(run, task) for run in plan.runs for task in plan.tasks if not _tuned(out / run.path, task, plan)]
    if runs or finetunings:
        estimate = Estimator(plan, corpus, objective, workers, threads).of(runs, finetunings)
        console.print(f"{estimate.sentence()}, {workers} at a time with {threads} threads each")
        _check_disk(out, estimate.bytes)
    if dry_run:
        return {}
    for lock in out.glob(f"runs/**/{LOCK}"):
        with claimed(lock.parent, PATIENCE):
            pass
    write_json(out / "comparison.json", sealed(plan.record() | {"jobs": workers}))
    write_json(out / "settings.json", plan.settings.to_dict())
    steps = {run.path: objective_of(run, plan, corpus).total_steps or 0 for run in runs}
    failed = _run([_pretraining(run, plan, out, threads, steps[run.path]) for run in runs], workers, console)
    chosen = best_rates(out) if plan.learning_rates else None
    failed |= _run(
        [
            (_generation if plan.generates else _finetuning)(run, task, plan, out, threads)
            for run, task in finetunings
            if _finished(out / run.path) and (chosen is None or chosen.get(run.variant.label) == run.learning_rate)
        ],
        workers,
        console,
    )
    results = write_report(out)
    console.print(f"report: {out / 'report.html'}")
    if failed:
        first, why = next(iter(failed.items()))
        raise ValueError(
            f"{len(failed)} of the runs failed ({first.name}: {why}); the report lists them, "
            f"logs are in {out / 'logs'}; --resume tries them again"
        )
    return results


def _tasks(settings: Settings, data: Prepared, asked: list[str], seeds: int) -> list[str]:
    """What follows each pre-training run: fine-tuning as asked; of models that write, the task they were trained on."""
    objective = settings.training.objective
    if objective == "causal_lm" and asked:
        raise ValueError('--task: a run with training.objective = "causal_lm" is not fine-tuned; leave it out')
    if not isinstance(data, PairCorpus):
        return asked
    if asked not in ([], [data.task]):
        raise ValueError(f"--task {','.join(asked)}: {data.path} holds {data.task}, only that is scored; leave it out")
    if seeds != 1:
        raise ValueError(f"--task-seeds {seeds}: beam search takes no chances; leave it out")
    require_packages(data.kind)
    return [data.task]


def _check(plan: Plan, corpus: Prepared) -> tuple[PretrainingObjective, list[str]]:
    """Find mistakes before the first run starts rather than in the last; what is to be known of the tasks' data."""
    if not plan.seeds:
        raise ValueError("--seeds must be at least 1")
    if plan.task_seeds < 1:
        raise ValueError("--task-seeds must be at least 1")
    if plan.tasks and not plan.generates and plan.task_data is None:
        raise ValueError("--task needs --task-data: a folder with a folder a task, or `hub`")
    for run in plan.runs:
        model_config(run.settings(plan.settings), corpus)
    for name in plan.tasks if not plan.generates else ():
        plan.settings.finetuning_for(name)
    trained = [load(find_task(name), plan.task_data or "")[0] for name in plan.tasks if not plan.generates]
    objective = RECIPES[plan.settings.training.objective].objective(corpus, plan.settings.training, 1)
    return objective, [examples.note for examples in trained if examples.note]


def _share_of_the_machine(jobs: int | None, runs: int, settings: Settings) -> tuple[int, int]:
    """(runs at a time, threads of each). Small models use two single-threaded processes better than one with two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs is not None and jobs < 1:
        raise ValueError("--jobs must be at least 1")
    workers = jobs or (1 if torch.cuda.is_available() else min(cores, runs))
    return workers, settings.training.threads or max(1, cores // workers)


def _check_disk(out: Path, needed: int) -> None:
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{out} needs about {needed / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB free: "
            "make room, or lower training.keep_checkpoints"
        )


def _status(run: Path) -> str | None:
    """The status of a run, None where there is none."""
    directory = RunDirectory(run)
    return directory.read()["status"] if directory.record.exists() else None


def _finished(run: Path) -> bool:
    return _status(run) == "finished"


def _tuned(run: Path, task: str, plan: Plan) -> bool:
    return all(map(_finished, task_directories(run, task, plan)))


def _pretraining(run: PlannedRun, plan: Plan, out: Path, threads: int, steps: int) -> Job:
    directory = out / run.path
    begun = _status(directory) is not None
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


def _finetuning(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int) -> Job:
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


def _generation(run: PlannedRun, task: str, plan: Plan, out: Path, threads: int) -> Job:
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
    return f"{run.variant.label}{rate} seed {run.seed}"


def _run(jobs: list[Job], workers: int, console: Console) -> dict[Job, str]:
    """Run the jobs and show how far they are: bars on a terminal, a line a finished run elsewhere."""
    if not jobs:
        return {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        return run_jobs(jobs, workers, _shower(jobs, progress, console))


def _shower(jobs: list[Job], progress: Progress, console: Console) -> Callable[[dict, list[Job], dict[Job, str]], None]:
    bar = progress.add_task("runs", total=len(jobs))
    told: set[Job] = set()

    def show(running: dict, done: list[Job], failed: Mapping[Job, str]) -> None:
        names = ", ".join(job.name for job in running)
        completed = len(done) + len(failed) + sum(job.fraction() for job in running)
        progress.update(bar, completed=completed, description=names or "runs")
        for job in [*done, *failed]:
            if job not in told:
                told.add(job)
                outcome = f"failed: {failed[job]}" if job in failed else "finished"
                console.print(f"[{len(told)}/{len(jobs)}] {job.name} {outcome}", markup=False)

    return show

"""A whole comparison: plan, cost, tuning runs, pre-training runs, fine-tuning runs, report. One process per run.

Whatever happens, what is finished stays: a later `--resume` skips it, resumes what was begun and starts the rest. The
record lists a run before it starts, and goes on listing one that was started when a later command leaves it out.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console

from leanformer import progress
from leanformer.comparison.choosing import choice, is_settled, tuning_seeds_of, tuning_tokens_of, with_choice
from leanformer.comparison.continuing import check_continues, check_runs, directory_of, earlier, has_task, invariants
from leanformer.comparison.discarding import check_models, discard_models
from leanformer.comparison.estimate import Estimator, objective_of
from leanformer.comparison.jobs import finetuning, generation, pretraining
from leanformer.comparison.machine import planned, share_of_the_machine
from leanformer.comparison.matching import matched
from leanformer.comparison.plan import Plan, PlannedRun, default_baseline
from leanformer.comparison.variants import Variant
from leanformer.comparison.written_plan import check_amends, write_plan
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.generation_tasks import require_packages
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import task as find_task
from leanformer.files import write_json
from leanformer.locks import NAME as LOCK
from leanformer.locks import claimed
from leanformer.reporting.numbers.margins import MARGIN, TASK_MARGIN
from leanformer.reporting.write import write_report
from leanformer.settings import Settings
from leanformer.spelling import suggest
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.outlook import Outlook
from leanformer.study.running import run_jobs
from leanformer.training.machine.hardware import visible_devices
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.run.record import RunDirectory
from leanformer.training.run.score_points import check_reached

PATIENCE = 60.0
"""Seconds that runs of an earlier start, whose command was killed, have for saving their work."""


def compare(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    variants: list[Variant],
    seeds: list[int],
    seconds: float | None = None,
    tokens: int | None = None,
    keep: Collection[str] = (),
    learning_rates: list[float] | None = None,
    tuning_seeds: list[int] | None = None,
    tuning_tokens: int | None = None,
    margin: float = MARGIN,
    task_margin: float = TASK_MARGIN,
    baseline: str | None = None,
    main: list[str] | None = None,
    tasks: list[str] | None = None,
    task_data: str | None = None,
    task_seeds: int = 1,
    jobs: int | None = None,
    plugin: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    keep_models: bool = True,
    quiet: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Run what is still to run of the comparison in `out`, then write its report; returns the report's results.

    With `seconds` or `tokens`, a budget of each run, the settings are a recipe, which is planned for it except for the
    settings that `keep` names (`training.budget`). With `learning_rates` every arm is tried at each of them on the
    `tuning_seeds`, for `tuning_tokens` if given, and reported at the best one. `margin` (nats), `task_margin` (a
    fraction), `baseline` and `main` (labels of the baseline and of the main contrast) are written down beforehand.
    """
    kind = OBJECTIVES[settings.training.objective]
    corpus, said = kind.open(data), ""
    if seconds is not None or tokens is not None:
        _, threads = share_of_the_machine(jobs, len(variants) * len(seeds), settings)
        settings, said = planned(settings, corpus, out, seconds=seconds, tokens=tokens, keep=keep, threads=threads)
    variants, matches = matched(variants, settings, corpus)
    plan = Plan(
        settings=settings,
        variants=variants,
        seeds=seeds,
        learning_rates=learning_rates,
        tuning_seeds=tuning_seeds_of(out, seeds, learning_rates, tuning_seeds),
        tuning_tokens=tuning_tokens_of(out, settings.training, learning_rates, tuning_tokens),
        margin=margin,
        task_margin=task_margin,
        named_baseline=_baseline(variants, baseline),
        main=_main(variants, main, baseline),
        tasks=_tasks(settings, corpus, tasks or [], task_seeds),
        task_seeds=task_seeds,
        task_data=task_data,
        data={"path": str(data), "hash": corpus.hash, "tokenizer_hash": corpus.tokenizer_hash},
        plugin=None if plugin is None else str(plugin),
        command=command,
    )
    objective, notes = _check(plan, corpus)
    console = progress.console(quiet=quiet)
    if said:
        console.print(said)
    for note in [*matches, *notes]:
        console.print(f"note: {note}")
    with directory_of(out).claimed(dry_run=dry_run):
        check_continues(out, plan, resume=resume)
        plan = with_choice(out, plan)
        check_runs(out, plan, corpus)
        check_amends(out, plan, finished=any(RunDirectory(out / run["path"]).finished for run in _listed(out)))
        return _carry_out(plan, corpus, objective, out, jobs, dry_run, keep_models, console)


def _carry_out(
    plan: Plan,
    corpus: Prepared,
    objective: PretrainingObjective,
    out: Path,
    jobs: int | None,
    dry_run: bool,
    keep_models: bool,
    console: Console,
) -> dict[str, Any]:
    """What is still to run, and the report."""
    workers, threads = share_of_the_machine(jobs, len(plan.foreseen_runs), plan.settings)
    to_go = [run for run in plan.foreseen_runs if not is_settled(out, run)]
    tasks_to_go = _finetunings(out, plan, plan.foreseen_runs)
    check_models(out, tasks_to_go)
    estimator = Estimator(plan, corpus, objective, workers, threads) if to_go or tasks_to_go else None
    if estimator is not None:
        estimate = estimator.of(to_go, tasks_to_go)
        console.print(f"{estimate.sentence()}, {workers} at a time with {threads} threads each")
        _check_disk(out, estimate.bytes)
    if dry_run:
        return {}
    for lock in out.glob(f"runs/**/{LOCK}"):
        with claimed(lock.parent, PATIENCE):
            pass
    _write_records(out, plan, workers)

    def tidy(*_: object) -> None:
        if not keep_models:
            discard_models(out, plan)

    outlook = None if estimator is None else Outlook(estimator.work(to_go, tasks_to_go), workers)

    def run(jobs: dict[Job, float]) -> dict[Job, str]:
        """Run the jobs, with the seconds that each is estimated to take."""
        if outlook is not None:
            outlook.take_up(jobs)
        return run_jobs(list(jobs), LocalProcesses(workers, visible_devices()), console, ended=tidy, outlook=outlook)

    def pretrain(runs: list[PlannedRun]) -> dict[Job, str]:
        left, jobs = [run for run in runs if not is_settled(out, run)], dict[Job, float]()
        for each in left:
            steps = objective_of(each, plan, corpus).total_steps or 0
            seconds = 0.0 if estimator is None else estimator.pretraining_seconds(each)
            jobs[pretraining(each, plan, out, threads, steps)] = seconds
        return run(jobs)

    if plan.tuning_runs:
        failed = pretrain(plan.tuning_runs)
        if not all(is_settled(out, run) for run in plan.tuning_runs):
            write_report(out)
            raise _failure(failed, out, "no learning rate is chosen without them")
        plan = with_choice(out, plan)
        for line in choice(plan):
            console.print(line)
        _write_records(out, plan, workers)
    failed = pretrain(plan.reported_runs)
    follow = generation if plan.generates else finetuning
    due = [pair for pair in _finetunings(out, plan, plan.reported_runs) if RunDirectory(out / pair[0].path).finished]
    failed |= run(
        {
            follow(each, task, plan, out, threads): 0.0 if estimator is None else estimator.task_seconds(each, task)
            for each, task in due
        }
    )
    tidy()
    results = write_report(out)
    console.print(f"report: {out / 'report.html'}")
    if failed:
        raise _failure(failed, out, "the report lists them")
    return results


def _failure(failed: dict[Job, str], out: Path, consequence: str) -> ValueError:
    first, why = next(iter(failed.items()))
    return ValueError(
        f"{len(failed)} of the runs failed ({first.name}: {why}); {consequence}, "
        f"logs are in {out / 'logs'}; --resume tries them again"
    )


def _write_records(out: Path, plan: Plan, workers: int) -> None:
    """comparison.json, settings.json and plan.json, before any run that they are the first to list."""
    listed, known = _listed(out), (earlier(out) or {}).get("aliases") or {}
    begun = [run for run in listed if (out / run["path"] / "run.json").exists()]
    record = plan.record() | {"jobs": workers}
    record["aliases"] = known | record["aliases"]
    paths = {run["path"] for run in record["runs"]}
    record["runs"] += [run for run in begun if run["path"] not in paths]
    directory_of(out).write(record)
    write_json(out / "settings.json", plan.settings.to_dict())
    write_plan(out, plan, invariants(record), begun=bool(begun))


def _listed(out: Path) -> list[dict[str, Any]]:
    """The runs that the record in `out` lists already."""
    before = earlier(out)
    return [] if before is None else before.get("runs", [])


def _finetunings(out: Path, plan: Plan, runs: list[PlannedRun]) -> list[tuple[PlannedRun, str]]:
    """(run, task) that are to be done."""
    reported = [run for run in runs if not run.tuning]
    return [(run, task) for run in reported for task in plan.tasks if not has_task(out / run.path, task, plan)]


def _baseline(variants: list[Variant], asked: str | None) -> str | None:
    """The label, if one is asked for. ValueError for one that is no arm."""
    labels = [variant.label for variant in variants]
    if asked is not None and asked not in labels:
        raise ValueError(f"--baseline {asked}: no such arm; {suggest(asked, labels)}")
    return asked


def _main(variants: list[Variant], asked: list[str] | None, baseline: str | None) -> list[str] | None:
    """The labels in the order of the arms. ValueError for one that is no arm, or the baseline."""
    if asked is None:
        return None
    labels = [variant.label for variant in variants]
    for label in asked:
        if label not in labels:
            raise ValueError(f"--main {label}: no such arm; {suggest(label, labels)}")
        if label == (baseline or default_baseline(labels)):
            raise ValueError(f"--main {label} is the baseline, which all others are compared with: leave it out")
    return [label for label in labels if label in asked]


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
    if plan.learning_rates and len(set(plan.learning_rates)) < len(plan.learning_rates):
        raise ValueError("--learning-rates names a rate twice: leave one out")
    if plan.task_seeds < 1:
        raise ValueError("--task-seeds must be at least 1")
    if plan.tasks and not plan.generates and plan.task_data is None:
        raise ValueError("--task needs --task-data: a folder with one folder per task, or `hub`")
    for run in plan.runs:
        model_config(run.settings(plan.settings), corpus)
    for name in plan.tasks if not plan.generates else ():
        plan.settings.finetuning_for(name)
    trained = [load(find_task(name), plan.task_data or "")[0] for name in plan.tasks if not plan.generates]
    objective = OBJECTIVES[plan.settings.training.objective].objective(corpus, plan.settings.training, 1)
    for run in plan.foreseen_runs:
        check_reached(run.settings(plan.settings).training, objective_of(run, plan, corpus))
    return objective, [examples.note for examples in trained if examples.note]


def _check_disk(out: Path, needed: int) -> None:
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{out} needs about {needed / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB free: "
            "make room, or lower training.keep_checkpoints"
        )

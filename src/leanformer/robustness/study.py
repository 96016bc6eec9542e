"""A study of robustness: the function behind `leanformer robustness`.

Every pre-trained model is fine-tuned on clean data and tested on noisy and foreign texts, and fine-tuned on poorer data
and tested on clean texts. What is finished stays: the same command again, or one that asks for more, does the rest.

    OUT/robustness.json                                                     what was asked
    OUT/runs/MECHANISM/seed-S/TASK/CONDITION/seed-F/run.json, tests.json    a fine-tuning, and what it was tested on
    OUT/results.json, report.md, report.html, figures/                      what came of it
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from leanformer.data import tasks
from leanformer.data.examples import Examples, load
from leanformer.evaluation.chance import chance
from leanformer.evaluation.inputs.table import encode
from leanformer.files import write_json
from leanformer.finetuning.run import require_settings, run_finetuning
from leanformer.finetuning.task_data import TaskData, load_task
from leanformer.models import saved
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study
from leanformer.reporting.write import write_document
from leanformer.robustness.contents import contents
from leanformer.robustness.estimate import estimate
from leanformer.robustness.findings import Findings, find
from leanformer.robustness.plan import LABELS, SIZES, Plan, Point, check_continues, directory, directory_of, seed_of
from leanformer.robustness.results import results
from leanformer.robustness.sources import read_sources
from leanformer.robustness.training_data import few_settings, mislabelled
from leanformer.robustness.trials import Texts, read_tests, run_tests
from leanformer.settings import FinetuningSettings
from leanformer.study.execution import WHOLE, Execution
from leanformer.study.job import Job
from leanformer.study.running import run_jobs
from leanformer.training.run.record import RunDirectory

PATIENCE = 60.0
"""Seconds that a shard waits for others to write their records."""


@dataclass(frozen=True, kw_only=True)
class FinetuningJob(Job):
    """One fine-tuning, and its tests; it is done in the process of its study."""

    run: Run
    task: str
    condition: Point | None
    seed: int


def robustness(
    sources: list[Path],
    out: Path,
    plan: Plan,
    execution: Execution | None = None,
    *,
    dry_run: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Do what is still to do of the study in `out`, and write its report; returns results.json.

    By default the fine-tunings are made one after the other in this process. With several jobs or on a cluster each
    pre-trained model with each task is a command of its own, which does one shard of the study.
    """
    execution = execution or Execution()
    study, console = read_sources(sources), Console(quiet=quiet, highlight=False)
    sizes, constant, notes = _check(plan, study)
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    groups = list(_groups(study, plan))
    own = execution.shard.part(groups)
    divided = not execution.local or (execution.jobs or 1) > 1
    shared = divided or execution.shard != WHOLE

    def left(of: list[tuple[Run, str]]) -> list[FinetuningJob]:
        return [job for job in _jobs(study, out, plan, sizes) if (job.run, job.task) in of and not _done(job, plan)]

    def report(failed: list[str]) -> dict[str, Any]:
        findings = find(study, out, plan, constant, failed)
        found = results(findings)
        write_document(contents(findings), found, out)
        console.print(f"report: {out / 'report.html'}")
        return found

    with ExitStack() as stack:
        stack.enter_context(directory_of(out).claimed(dry_run=dry_run, patience=PATIENCE if shared else 0.0))
        check_continues(out, plan)
        execution.require_no_queue(out)
        to_do = left(own)
        if to_do and (execution.shard == WHOLE or dry_run):
            console.print(estimate(study, plan, [(job.run, job.task, job.condition) for job in to_do]).sentence())
        if dry_run:
            return {}
        directory_of(out).write(plan.record())
        write_json(out / "settings.json", plan.settings.to_dict())
        if shared:
            stack.close()
        if divided:
            failed = _submit(sources, out, plan, groups, to_do, execution, console)
            failed += [f"{job.name} failed: its log is in {out / 'logs'}" for job in left(own)]
        else:
            failed = _carry_out(to_do, study, plan, console)
        if others := [] if execution.shard == WHOLE else left([group for group in groups if group not in own]):
            console.print(f"shard {execution.shard} is done; {len(others)} fine-tunings of other shards are not")
            return {}
        if shared:
            stack.enter_context(directory_of(out).claimed(patience=PATIENCE))
        return report(failed)


def _groups(study: Study, plan: Plan) -> Iterator[tuple[Run, str]]:
    """Yields the pre-trained models with each task, in the order in which they are done."""
    for seed in study.seeds:
        for task in plan.tasks:
            yield from ((run, task) for name in study.attention for run in study.at(name) if run.seed == seed)


def _submit(
    sources: list[Path],
    out: Path,
    plan: Plan,
    groups: list[tuple[Run, str]],
    to_do: list[FinetuningJob],
    execution: Execution,
    console: Console,
) -> list[str]:
    """Run a command for every group of which something is to be done; returns why commands failed."""
    workers, threads = execution.share(len(groups), plan.settings.finetuning.threads)
    jobs = []
    for number, (run, task) in enumerate(groups, 1):
        if any((job.run, job.task) == (run, task) for job in to_do):
            name = f"{run.attention} seed {run.seed}, {task}"
            shard = ("--shard", f"{number}/{len(groups)}", "--set", f"finetuning.threads={threads}", "--quiet")
            jobs.append(
                Job(
                    name=name,
                    directory=directory(out, run.attention, run.seed, task, None, 0).parents[1],
                    arguments=(*plan.arguments(sources, out), *shard),
                    log=out / "logs" / f"{run.attention}-seed-{run.seed}-{task}.log",
                )
            )
    failed = run_jobs(jobs, execution.make(out, workers, threads), console)
    return [f"{job.name} failed: {why}" for job, why in failed.items()]


def read_findings(sources: list[Path], out: Path, plan: Plan) -> Findings:
    """Returns the findings of what is finished of the study in `out`."""
    study = read_sources(sources)
    return find(study, out, plan, _check(plan, study)[1])


def _check(plan: Plan, study: Study) -> tuple[dict[str, int], dict[str, float], list[str]]:
    """Returns (training examples of each task, its constant score, notes): mistakes are found before the first run."""
    sizes, constant, notes = {}, {}, []
    for name in dict.fromkeys([*plan.tasks, *plan.transfer]):
        train, validation = load(tasks.task(name), plan.task_data)
        settings = plan.settings.finetuning_for(name)
        sizes[name] = len(train.subset(settings.max_train_examples).labels)
        scored = {split: examples.subset(settings.max_eval_examples) for split, examples in validation.items()}
        constant[name] = chance(tasks.task(name), scored)
    for name in plan.tasks:
        for size in plan.train_sizes:
            if size >= sizes[name]:
                notes.append(f"{name} has {sizes[name]:,} training examples: --train-sizes {size} is left out")
    for name in study.attention:
        for run in study.at(name):
            saved.locate(study.directory / run.path)
    return sizes, constant, notes


def _jobs(study: Study, out: Path, plan: Plan, sizes: dict[str, int]) -> Iterator[FinetuningJob]:
    """Yields the jobs, seeds outermost, so that a study cut short is still balanced."""
    for run, task in _groups(study, plan):
        for condition in plan.conditions():
            if condition is not None and condition.axis == SIZES and float(condition.at) >= sizes[task]:
                continue
            for number in range(1, plan.seeds + 1):
                yield _job(out, run, task, condition, number)


def _job(out: Path, run: Run, task: str, condition: Point | None, seed: int) -> FinetuningJob:
    under = "" if condition is None else f", {condition.axis} {condition.at:g}"
    return FinetuningJob(
        name=f"{run.attention} seed {run.seed}, {task}{under}, fine-tuning seed {seed}",
        directory=directory(out, run.attention, run.seed, task, condition, seed),
        run=run,
        task=task,
        condition=condition,
        seed=seed,
    )


def _done(job: FinetuningJob, plan: Plan) -> bool:
    """Whether it is done. Raises FileExistsError if it was done with other settings."""
    if not job.finished:
        return False
    record = RunDirectory(job.directory).read()
    settings = plan.settings.finetuning_for(job.task)
    if job.condition is not None and job.condition.axis == SIZES:  # its epochs depend on how many there were
        settings = replace(settings, epochs=record["settings"]["finetuning"]["epochs"])
    require_settings(job.directory, record, replace(settings, seed=job.seed))
    return job.condition is not None or set(plan.tests(job.task)) <= read_tests(job.directory).keys()


def _carry_out(jobs: list[FinetuningJob], study: Study, plan: Plan, console: Console) -> list[str]:
    """Returns why fine-tunings failed, one line per failure."""
    failed = []
    gathered: tuple[Run, str] | None = None
    for number, job in enumerate(jobs, 1):
        settings = plan.settings.finetuning_for(job.task)
        if gathered != (job.run, job.task):
            gathered = (job.run, job.task)
            loaded = load_task(study.directory / job.run.path, job.task, plan.task_data, settings)
            texts = Texts(plan, loaded.task, {split: of.examples for split, of in loaded.validation.items()})
        seed = seed_of(job.run.seed, job.seed)
        try:
            own, trained_on = _condition(loaded, settings, job.condition, seed)
            own = replace(own, seed=job.seed)
            record = run_finetuning(trained_on, own, job.directory, keep_model=job.condition is None, quiet=True)
            if job.condition is None:
                run_tests(job.directory, loaded, texts, settings, seed)
            said = f"{100 * record['results']['score']:.1f}"
        except ArithmeticError as error:
            failed.append(f"{job.name} failed: {error}")
            said = f"failed: {error}"
        console.print(f"[{number}/{len(jobs)}] {job.name}: {said}", markup=False, soft_wrap=True)
    return failed


def _condition(
    loaded: TaskData, settings: FinetuningSettings, condition: Point | None, seed: int
) -> tuple[FinetuningSettings, TaskData]:
    """What a fine-tuning under the condition is trained with."""
    whole = loaded.train.examples
    if condition is None:
        return settings, loaded
    if condition.axis == LABELS:
        share = float(condition.at)
        return settings, trained_on(loaded, settings, mislabelled(whole, len(loaded.task.labels), share, seed))
    few = whole.subset(int(condition.at), seed)
    return few_settings(settings, len(few.labels), len(whole.labels)), trained_on(loaded, settings, few)


def trained_on(loaded: TaskData, settings: FinetuningSettings, train: Examples) -> TaskData:
    """The same with other training examples, and a record that says so."""
    encoded = encode(loaded.task, loaded.tokenizer, train, settings.max_length)
    data = dict(loaded.record["data"])
    for key, value in (("hash", train.hash), ("examples", len(train.labels)), ("truncated", encoded.truncated)):
        data[key] = data[key] | {"train": value}
    return replace(loaded, train=encoded, record={**loaded.record, "data": data})

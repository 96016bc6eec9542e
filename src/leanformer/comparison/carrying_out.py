"""A plan is carried out: cost, tuning runs, pre-training runs, fine-tuning runs, report. One process per run.

Whatever happens, what is finished stays: a later `--resume` skips it, resumes what was begun and starts the rest. The
record lists a run before it starts, and goes on listing one that was started when a later command leaves it out.

A comparison has its directory to itself. One of several shards (`--shard`) has it while it writes records and reports,
and shares it with the others while its runs go on.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from leanformer.comparison.choosing import choice, is_settled, with_choice
from leanformer.comparison.continuing import directory_of, earlier, has_task, invariants
from leanformer.comparison.discarding import check_models, discard_models
from leanformer.comparison.estimate import Estimator, objective_of
from leanformer.comparison.jobs import finetuning, generation, pretraining
from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.written_plan import write_plan
from leanformer.data.corpus import Prepared
from leanformer.files import require_space, write_json
from leanformer.locks import NAME as LOCK
from leanformer.locks import claimed
from leanformer.reporting.write import write_report
from leanformer.study.execution import WHOLE, Execution
from leanformer.study.job import Job
from leanformer.study.outlook import Outlook
from leanformer.study.running import run_jobs
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.run.record import RunDirectory

PATIENCE = 60.0
"""Seconds that runs of an earlier start, whose command was killed, have for saving their work, and that a shard waits
for others to write."""


def carry_out(
    begin: Callable[[], Plan],
    corpus: Prepared,
    objective: PretrainingObjective,
    out: Path,
    execution: Execution,
    *,
    dry_run: bool,
    keep_models: bool,
    console: Console,
) -> dict[str, Any]:
    """Do what is still to do of the plan that `begin` returns, which is called when the directory is this process's
    own; returns the report's results."""
    study = directory_of(out)
    if execution.shard == WHOLE:
        with study.claimed(dry_run=dry_run):
            work = _Work(begin(), corpus, objective, out, execution, keep_models, console, nullcontext)
            return {} if work.foresee(dry_run) else work.carry_out()
    with study.claimed(dry_run=dry_run, patience=PATIENCE):
        work = _Work(
            begin(),
            corpus,
            objective,
            out,
            execution,
            keep_models,
            console,
            lambda: study.claimed(patience=PATIENCE),
        )
        if work.foresee(dry_run):
            return {}
    return work.carry_out()


class _Work:
    """What one command does of a comparison; `alone()` is a context in which the directory is its own."""

    def __init__(
        self,
        plan: Plan,
        corpus: Prepared,
        objective: PretrainingObjective,
        out: Path,
        execution: Execution,
        keep_models: bool,
        console: Console,
        alone: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.plan, self.corpus, self.objective, self.out = plan, corpus, objective, out
        self.execution, self.keep_models, self.console, self.alone = execution, keep_models, console, alone
        self.part = execution.shard.part
        self.runs = [*self.part(plan.tuning_runs), *self.part(plan.foreseen_runs[len(plan.tuning_runs) :])]
        self.workers, self.threads = execution.share(len(self.runs), plan.settings.training.threads)
        self.to_go = [run for run in self.runs if not is_settled(out, run)]
        self.tasks_to_go = _finetunings(out, plan, self.runs)
        self.estimator: Estimator | None = None
        self.outlook: Outlook | None = None

    def foresee(self, dry_run: bool) -> bool:
        """Print the estimate and write the records; for a dry run print what would be submitted. Returns `dry_run`."""
        check_models(self.out, self.tasks_to_go)
        if self.to_go or self.tasks_to_go:
            self.estimator = Estimator(self.plan, self.corpus, self.objective, self.workers, self.threads)
            estimate = self.estimator.of(self.to_go, self.tasks_to_go)
            self.console.print(
                f"{estimate.sentence()}, {self.workers} at a time with {self.threads} threads each", soft_wrap=True
            )
            require_space(self.out, estimate.bytes, "make room, or lower training.keep_checkpoints")
            self.outlook = Outlook(self.estimator.work(self.to_go, self.tasks_to_go), self.workers)
        if dry_run:
            if script := self.execution.preview(self.out, len(self.to_go), self.threads):
                self.console.print(script, markup=False, soft_wrap=True)
            return True
        if self.execution.local:
            for lock in [lock for run in self.runs for lock in (self.out / run.path).rglob(LOCK)]:
                with claimed(lock.parent, PATIENCE):
                    pass
        self._write_records()
        return False

    def carry_out(self) -> dict[str, Any]:
        if self.plan.tuning_runs:
            failed = self._pretrain(self.part(self.plan.tuning_runs))
            if not all(is_settled(self.out, run) for run in self.plan.tuning_runs):
                return self._wait_for_choice(failed)
            self.plan = with_choice(self.out, self.plan)
            for line in choice(self.plan):
                self.console.print(line)
            with self.alone():
                self._write_records()
        reported = self.part(self.plan.reported_runs)
        failed = self._pretrain(reported)
        failed |= self._run(self._tasks(reported))
        with self.alone():
            self._tidy()
            results = write_report(self.out)
        self.console.print(f"report: {self.out / 'report.html'}")
        if failed:
            raise self._failure(failed, "the report lists them")
        left = [run for run in self.plan.reported_runs if not is_settled(self.out, run)]
        left += [run for run, _ in _finetunings(self.out, self.plan, self.plan.reported_runs)]
        if left:
            self.console.print(f"shard {self.execution.shard} is done; {len(left)} runs of other shards are not")
        return results

    def _pretrain(self, runs: list[PlannedRun]) -> dict[Job, str]:
        jobs = []
        for each in runs:
            if not is_settled(self.out, each):
                steps = objective_of(each, self.plan, self.corpus).total_steps or 0
                seconds = 0.0 if self.estimator is None else self.estimator.pretraining_seconds(each)
                jobs.append(pretraining(each, self.plan, self.out, self.threads, steps, seconds))
        return self._run(jobs)

    def _tasks(self, runs: list[PlannedRun]) -> list[Job]:
        follow, jobs = generation if self.plan.generates else finetuning, []
        for each, task in _finetunings(self.out, self.plan, runs):
            if RunDirectory(self.out / each.path).finished:
                seconds = 0.0 if self.estimator is None else self.estimator.task_seconds(each, task)
                jobs.append(follow(each, task, self.plan, self.out, self.threads, seconds))
        return jobs

    def _run(self, jobs: list[Job]) -> dict[Job, str]:
        if self.outlook is not None:
            self.outlook.take_up({job: job.seconds for job in jobs})
        executor = self.execution.make(self.out, self.workers, self.threads)
        return run_jobs(jobs, executor, self.console, ended=self._tidy, outlook=self.outlook)

    def _tidy(self, *_: object) -> None:
        if not self.keep_models:
            own = [*self.part(self.plan.tuning_runs), *self.part(self.plan.reported_runs)]
            discard_models(self.out, self.plan, own)

    def _wait_for_choice(self, failed: dict[Job, str]) -> dict[str, Any]:
        """There is no choice of rates yet: tuning runs have failed, or other shards have not done theirs."""
        with self.alone():
            results = write_report(self.out)
        if failed or self.execution.shard == WHOLE:
            raise self._failure(failed, "no learning rate is chosen without them")
        self.console.print(
            f"shard {self.execution.shard} has done its tuning runs: repeat the command when the other shards have, too"
        )
        return results

    def _failure(self, failed: dict[Job, str], consequence: str) -> ValueError:
        first, why = next(iter(failed.items()))
        return ValueError(
            f"{len(failed)} of the runs failed ({first.name}: {why}); {consequence}, "
            f"logs are in {self.out / 'logs'}; --resume tries them again"
        )

    def _write_records(self) -> None:
        """comparison.json, settings.json and plan.json, before any run that they are the first to list."""
        out, plan = self.out, self.plan
        listed, known = listed_runs(out), (earlier(out) or {}).get("aliases") or {}
        begun = [run for run in listed if (out / run["path"] / "run.json").exists()]
        record = plan.record() | {"jobs": self.workers}
        record["aliases"] = known | record["aliases"]
        paths = {run["path"] for run in record["runs"]}
        record["runs"] += [run for run in begun if run["path"] not in paths]
        directory_of(out).write(record)
        write_json(out / "settings.json", plan.settings.to_dict())
        write_plan(out, plan, invariants(record), begun=bool(begun))


def listed_runs(out: Path) -> list[dict[str, Any]]:
    """The runs that the record in `out` lists already."""
    before = earlier(out)
    return [] if before is None else before.get("runs", [])


def _finetunings(out: Path, plan: Plan, runs: list[PlannedRun]) -> list[tuple[PlannedRun, str]]:
    """(run, task) that are to be done."""
    reported = [run for run in runs if not run.tuning]
    return [(run, task) for run in reported for task in plan.tasks if not has_task(out / run.path, task, plan)]

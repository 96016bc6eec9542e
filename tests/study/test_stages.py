"""Stages of jobs: what is finished is skipped, and a failure costs what needs it and nothing else."""

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from leanformer.study.executor import JobFailed
from leanformer.study.job import Job
from leanformer.study.stages import run_stages
from leanformer.training.run.record import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Needy(Job):
    needs: tuple[Path, ...] = ()

    @property
    def ready(self) -> bool:
        return all(RunDirectory(place).finished for place in self.needs)


class Made(nullcontext):
    """Every job leaves a finished run, but for the names that fail."""

    def __init__(self, failing=()):
        super().__init__(self)
        self.failing, self.ran = failing, []

    def submit(self, job):
        self.ran.append(job.name)
        future = Future()
        if job.name in self.failing:
            future.set_exception(JobFailed("no"))
        else:
            job.directory.mkdir(parents=True)
            RunDirectory(job.directory).write({"kind": "pretrain", "status": "finished"})
            future.set_result(None)
        return future


def stages(out):
    def job(name, *needs):
        return Needy(name=name, directory=out / name, needs=tuple(out / need for need in needs))

    return {
        "first": lambda: [job("a"), job("b")],
        "second": lambda: [job("c", "a"), job("d", "b")],
        "third": lambda: [job("e", "d")],
    }


def run(out, executor):
    """(missing, the stages after which there was something to read)"""
    after = []
    missing = run_stages(
        stages(out), lambda name: executor, Console(quiet=True), after=lambda name, missing: after.append(name)
    )
    return missing, after


def test_a_failure_costs_what_needs_it(tmp_path):
    executor = Made(failing=("b",))
    assert run(tmp_path, executor) == (["b", "d", "e"], ["first", "second", "third"])
    assert executor.ran == ["a", "b", "c"]

    again = Made()
    assert run(tmp_path, again) == ([], ["first", "second", "third"])
    assert again.ran == ["b", "d", "e"]
    nothing = Made()
    assert run(tmp_path, nothing) == ([], ["third"]) and nothing.ran == []


def test_a_job_that_was_begun_is_resumed(tmp_path):
    job, plain = (Job(name=verb, directory=tmp_path, arguments=(verb, "--quiet")) for verb in ("pretrain", "finetune"))
    assert job.command[1:] == ["-m", "leanformer_cli", "pretrain", "--quiet"] and not job.finished
    RunDirectory(tmp_path).write({"kind": "pretrain", "status": "running"})
    assert job.command[-1] == "--resume" and plain.command[-1] == "--quiet" and not job.finished
    RunDirectory(tmp_path).update(status="finished")
    assert job.finished

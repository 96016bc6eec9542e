"""An executor for protocols under test: commands run in this process, one by one, and are remembered."""

import contextlib
import io
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Self

import pytest

import leanformer_cli
from leanformer.study.executor import JobFailed
from leanformer.study.job import Job


class InProcess(contextlib.nullcontext):
    """In the place of `LocalProcesses`; what is not to be run for real overrides `run`."""

    def __init__(self) -> None:
        super().__init__(self)
        self.ran = list[tuple[str, ...]]()

    def __call__(self, workers: int, devices: Sequence[str] = ()) -> Self:
        return self

    def submit(self, job: Job) -> "Future[None]":
        arguments = tuple(job.command[1 + len(job.program) :])
        self.ran.append(arguments)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        future, heard, status = Future[None](), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(heard):
            patch.setattr(sys, "argv", ["leanformer", *arguments])
            try:
                self.run(job)
            except SystemExit as end:
                status = end.code or 0
        job.log.write_text(f"{heard.getvalue()}\n{status}\n")
        if status:
            future.set_exception(JobFailed(f"exit status {status}"))
        else:
            future.set_result(None)
        return future

    def run(self, job: Any) -> None:
        leanformer_cli.main()

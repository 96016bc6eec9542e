"""A runner for protocols under test: commands run in this process, one by one, and are remembered."""

import contextlib
import io
import sys
from typing import Any

import pytest

import leanformer_cli


class InProcess:
    """In the place of `run_jobs`; what is not to be run for real overrides `run`."""

    def __init__(self) -> None:
        self.ran = list[tuple[str, ...]]()

    def __call__(self, jobs: list[Any], workers: int, on_change: Any) -> dict[Any, str]:
        done, failed = list[Any](), dict[Any, str]()
        for job in jobs:
            self.ran.append(job.arguments)
            job.log.parent.mkdir(parents=True, exist_ok=True)
            heard, status = io.StringIO(), 0
            with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(heard):
                patch.setattr(sys, "argv", ["leanformer", *job.arguments])
                try:
                    self.run(job)
                except SystemExit as end:
                    status = end.code or 0
            job.log.write_text(f"{heard.getvalue()}\n{status}\n")
            if status:
                failed[job] = f"exit status {status}"
            else:
                done.append(job)
            on_change({}, done, failed)
        on_change({}, done, failed)
        return failed

    def run(self, job: Any) -> None:
        leanformer_cli.main()

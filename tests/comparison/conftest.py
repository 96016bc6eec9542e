"""Comparisons whose jobs run in this process, or are taken from a comparison that has run them already."""

import json
import shutil
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

import pytest

import leanformer_cli
from leanformer.comparison.plan import Plan
from leanformer.comparison.variants import parse_variants
from leanformer.settings import read_settings
from leanformer.study import execution


class Killed(BaseException):
    """The comparison's process is gone, without a chance to tidy up."""


def place(job):
    """The directory of the run that the job makes."""
    return Path(job.arguments[job.arguments.index("--out") + 1])


def _listed_runs(out):
    return {run["path"]: run for run in json.loads((out / "comparison.json").read_text())["runs"]}


@pytest.fixture
def executor(monkeypatch):
    """`executor(source, kill_after=n)` makes every later comparison take its runs from the finished one in `source`, or
    run them in this process without one, and be killed before it starts more than n. Returns the paths that it ran.

    Every run must be listed in comparison.json, and the plan be written, before it starts.
    """

    def install(source=None, kill_after=None):
        ran = []

        class InThisProcess(nullcontext):
            def __init__(self, workers, devices):
                super().__init__()

            def submit(self, job):
                future = Future()
                if len(ran) == kill_after:
                    future.set_exception(Killed())  # raised when what ran before has been seen to
                    return future
                target = place(job)
                out = next(folder for folder in target.parents if (folder / "comparison.json").exists())
                path = target.relative_to(out).as_posix()
                assert path.partition("/tasks/")[0] in _listed_runs(out)
                if source is None:
                    leanformer_cli.app(args=job.command[3:], standalone_mode=False)
                else:
                    shutil.copytree(source / path, target, ignore=shutil.ignore_patterns("tasks"), dirs_exist_ok=True)
                ran.append(path)
                future.set_result(None)
                return future

        monkeypatch.setattr(execution, "LocalProcesses", InThisProcess)
        return ran

    install.Killed = Killed
    return install


@pytest.fixture
def listed_runs():
    """{path: entry} of the runs in a comparison's record."""
    return _listed_runs


@pytest.fixture
def make_plan():
    """`make_plan("dot_product,shared", seeds=[1], ...)`: a plan of five steps a run."""

    def make(attention="dot_product,shared", overrides=("training.max_steps=5",), **more):
        values = {
            "settings": read_settings(None, overrides),
            "variants": parse_variants(attention),
            "seeds": [1, 2],
            "learning_rates": None,
            "tasks": [],
            "task_seeds": 1,
            "task_data": None,
            "data": {"path": "data", "hash": "abc"},
            "plugin": None,
            "command": "leanformer compare",
        }
        return Plan(**values | more)

    return make

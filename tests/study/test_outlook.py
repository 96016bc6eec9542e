"""The remaining time of a study: the estimate at first, then what the study has shown."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.outlook import PRIOR, Outlook
from leanformer.study.running import run_jobs


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self):
        return self.now


@dataclass(frozen=True, kw_only=True)
class Half(Job):
    """A job whose progress the test sets."""

    done: list = field(default_factory=lambda: [0.0], hash=False, compare=False)

    def fraction(self):
        return self.done[0]


def half(name, done=0.0):
    return Half(name=name, directory=Path(name), done=[done])


def test_at_first_it_is_the_estimate():
    outlook = Outlook(1000.0, 2, Clock())
    outlook.take_up({half("a"): 400.0, half("b"): 400.0})
    assert outlook.left() == 500.0  # with 200 seconds of later work


def test_a_study_that_is_half_as_fast_takes_twice_as_long():
    clock, a, b = Clock(), half("a"), half("b")
    outlook = Outlook(40_000.0, 2, clock)
    outlook.take_up({a: 10_000.0, b: 10_000.0})
    a.done[0] = b.done[0] = 0.5
    clock.now = 10_000.0  # for 5,000 estimated seconds
    pace = (10_000 + PRIOR) / (5_000 + PRIOR)
    assert outlook.left() == pytest.approx(pace * 15_000) and pace == pytest.approx(2, abs=0.02)
    outlook.ended(a)
    outlook.ended(b)
    clock.now = 20_000.0
    assert outlook.left() == pytest.approx((20_000 + PRIOR) / (10_000 + PRIOR) * 10_000)


def test_what_was_done_before_is_neither_work_nor_speed():
    outlook, half_done = Outlook(1000.0, 1, Clock()), half("a", 0.75)
    outlook.take_up({half_done: 1000.0})
    assert outlook.left() == 250.0


def test_the_last_job_does_not_become_faster_because_places_are_free():
    outlook = Outlook(1000.0, 4, Clock())
    outlook.take_up({half("a"): 1000.0})
    assert outlook.left() == 1000.0


def test_the_lines_of_a_study_say_what_is_left(tmp_path, capsys):
    jobs = [Job(name=n, directory=tmp_path / n, arguments=(f"#{n}",), program=("-c",), log=tmp_path / n) for n in "ab"]
    outlook = Outlook(7200.0, 1)
    outlook.take_up(dict.fromkeys(jobs, 1200.0))
    assert run_jobs(jobs, LocalProcesses(1), Console(width=200), outlook=outlook) == {}
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("[1/2] a finished; about ") and second.startswith("[2/2] b finished; about ")
    assert "left" in first and "left" in second  # 4,800 seconds of a later stage


def test_a_failed_job_is_done(tmp_path):
    (job,) = [
        Job(name="a", directory=tmp_path, arguments=("raise SystemExit(1)",), program=("-c",), log=tmp_path / "a")
    ]
    outlook = Outlook(500.0, 1, Clock())
    outlook.take_up({job: 500.0})
    assert run_jobs([job], LocalProcesses(1), Console(quiet=True), outlook=outlook)
    assert outlook.left() == 0.0

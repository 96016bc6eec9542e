"""What was submitted to Slurm is found again from the directory, and nothing of it is started a second time."""

import os
import time

import pytest

from leanformer.study import queue
from leanformer.study.job import Job
from leanformer.study.queue import Place, Queue


@pytest.fixture
def jobs(tmp_path):
    return {name: Job(name=name, directory=tmp_path / "runs" / name) for name in "abc"}


@pytest.fixture
def slurm(monkeypatch):
    """{task: (state, comment)} of what Slurm says that it has."""
    states = {}
    monkeypatch.setattr(queue, "asked", lambda users: dict(states))
    return states


def test_every_job_of_an_allocation_is_where_its_task_is(tmp_path, jobs, slurm):
    submitted = Queue(tmp_path)
    number = submitted.announce([[jobs["a"], jobs["b"]], [jobs["c"]]])
    submitted.confirm(number, ["7_0", "7_1"])
    slurm |= {"7_0": ("RUNNING", number), "7_1": ("PENDING", number), "8_0": ("RUNNING", "another study's")}
    where = {name: str(job.directory) for name, job in jobs.items()}
    assert Queue(tmp_path).places() == {
        "a": Place("7_0", "RUNNING", where["a"]),
        "b": Place("7_0", "RUNNING", where["b"]),
        "c": Place("7_1", "PENDING", where["c"]),
    }
    del slurm["7_0"]
    assert set(Queue(tmp_path).places()) == {"c"}


@pytest.mark.parametrize("task", ["7_1", "7"])
def test_a_submission_whose_command_was_killed_is_known_by_its_comment(tmp_path, jobs, slurm, task):
    """Between sbatch and the note of its answer; an array of one is no array."""
    allocations = [[jobs["a"]], [jobs["b"]]] if "_" in task else [[jobs["b"]]]
    number = Queue(tmp_path).announce(allocations)
    slurm[task] = ("PENDING", number)
    assert {name: place.task for name, place in Queue(tmp_path).places().items()} == {"b": task}


def test_slurm_is_not_asked_when_all_has_returned(tmp_path, jobs, monkeypatch):
    """A directory that was copied to another machine goes on there."""
    submitted = Queue(tmp_path)
    submitted.confirm(submitted.announce([[jobs["a"]]]), ["7"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match="there is no squeue here"):
        submitted.places()
    submitted.result("7").touch()
    assert submitted.places() == {}


def test_what_squeue_prints_is_read(tmp_path, monkeypatch):
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho '7_0|RUNNING|abc'\necho '7_1|CANCELLED|abc'\necho '9|PENDING|a|b'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert queue.asked(["me"]) == {"7_0": ("RUNNING", "abc"), "9": ("PENDING", "a|b")}
    program.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    with pytest.raises(OSError, match="Slurm does not answer .Unable to contact slurm controller.: try again later"):
        queue.asked(["me"])


def test_a_submission_whose_tasks_left_the_queue_without_a_word_is_closed(tmp_path, jobs, slurm, monkeypatch):
    """A cancelled task, or one that ran out of memory, returns nothing; the directory goes on without Slurm then."""
    submitted = Queue(tmp_path)
    number = submitted.announce([[jobs["a"]], [jobs["b"]]])
    submitted.confirm(number, ["7_0", "7_1"])
    submitted.result("7_0").touch()
    slurm["7_1"] = ("RUNNING", number)
    submitted.close_ended()
    assert set(submitted.places()) == {"b"}
    del slurm["7_1"]
    submitted.close_ended()
    monkeypatch.setattr(queue, "asked", _unreachable)
    assert submitted.places() == {}
    submitted.close_ended()
    ((record, _),) = submitted.records()
    assert record["tasks"] == ["7_0", "7_1"]


def test_a_submission_that_may_still_come_stays_open(tmp_path, jobs, slurm):
    """Its command was killed, and the sbatch that it had started may outlive it."""
    submitted = Queue(tmp_path)
    number = submitted.announce([[jobs["a"]]])
    submitted.close_ended()
    slurm["7"] = ("PENDING", number)
    assert set(submitted.places()) == {"a"}
    ((_, file),) = submitted.records()
    long_ago = time.time() - 2 * queue.SUBMITTING
    os.utime(file, (long_ago, long_ago))
    submitted.close_ended()
    assert set(submitted.places()) == {"a"}
    slurm.clear()
    submitted.close_ended()
    slurm["7"] = ("PENDING", number)
    assert submitted.places() == {}


def test_what_another_user_has_submitted_is_asked_for_and_not_closed(tmp_path, jobs, monkeypatch):
    """Slurm may hide jobs of others."""
    asked = []
    monkeypatch.setattr(queue, "asked", lambda users: asked.append(users) or {})
    submitted = Queue(tmp_path)
    for name in ("ada", "ben"):
        monkeypatch.setattr(queue.getpass, "getuser", lambda name=name: name)
        submitted.confirm(submitted.announce([[jobs["a"]]]), [f"7_{name}"])
    submitted.places()
    assert asked.pop() == ["ada", "ben"]
    submitted.close_ended()
    assert asked.pop() == ["ben"]
    submitted.places()
    assert asked == [["ada"]]


@pytest.mark.parametrize("taken", [True, False, None])
def test_a_submission_is_forgotten_only_if_slurm_has_not_taken_it(tmp_path, jobs, slurm, monkeypatch, taken):
    """sbatch may fail after the controller has the array: its answer was lost, or the disk was full."""
    submitted = Queue(tmp_path)
    number = submitted.announce([[jobs["a"]]])
    if taken:
        slurm["7"] = ("PENDING", number)
    if taken is None:
        monkeypatch.setattr(queue, "asked", _unreachable)
    submitted.withdraw(number)
    assert len(list(submitted.records())) == (taken is not False)


def _unreachable(users):
    raise OSError("Slurm does not answer")

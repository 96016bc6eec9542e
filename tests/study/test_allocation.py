"""Jobs on the machine that a scheduler has chosen: what is done is not done again, and a warning saves the work."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from leanformer.locks import claimed
from leanformer.study import allocation
from leanformer.study.allocation import Allocation
from leanformer.study.job import Job

PATIENT = (
    "import leanformer_cli.ending as ending, pathlib, sys, time\n"
    "try:\n"
    "    with ending.listening(): pathlib.Path(sys.argv[1]).touch(); time.sleep(600)\n"
    "finally: pathlib.Path(sys.argv[1] + '.saved').touch()"
)


@dataclass(frozen=True, kw_only=True)
class OwnJob(Job):
    row: int = 0


def job(folder, name, code, *arguments):
    arguments = (code, *map(str, arguments))
    log = folder / "logs" / f"{name}.log"
    return OwnJob(name=name, directory=folder / name, arguments=arguments, program=("-c",), log=log)


def test_outcomes_are_named_and_what_is_finished_is_left_alone(tmp_path):
    """A study's own kind of job arrives as a plain one, since its module need not be there."""
    done = job(tmp_path, "done", "raise SystemExit('started again')")
    done.directory.mkdir()
    (done.directory / "run.json").write_text('{"schema": 1, "status": "finished"}')
    made = [done, job(tmp_path, "good", "pass"), job(tmp_path, "bad", "raise SystemExit('no luck')")]
    arrived = pickle.loads(pickle.dumps(Allocation(made, 2, tmp_path)))
    assert [type(each) for each in arrived.jobs] == [Job] * 3
    assert done.finished and arrived() == {"done": None, "good": None, "bad": "no luck"}


def test_a_job_whose_directory_is_in_use_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(allocation, "PATIENCE", 0.2)
    used = job(tmp_path, "used", "pass")
    with claimed(used.directory):
        (why,) = Allocation([used], 1, tmp_path)().values()
    assert f"is in use by process {os.getpid()}" in why and not used.log.exists()


def test_a_warning_lets_the_running_job_save_and_starts_no_other(tmp_path):
    """SIGTERM to the process that carries the allocation; the scheduler, not this process, decides what follows."""
    ready = tmp_path / "ready"
    code = (
        "import sys; from pathlib import Path; from leanformer.study import allocation\n"
        "from leanformer.study.job import Job\n"
        "allocation.GRACE = 1.0; here = Path(sys.argv[1])\n"
        "jobs = [Job(name=n, directory=here / n, arguments=(sys.argv[2], str(here / 'ready')), program=('-c',),"
        " log=here / f'{n}.log') for n in 'ab']\n"
        "print(allocation.Allocation(jobs, 1, here)())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), PATIENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 120
    while not ready.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert (tmp_path / "ready.saved").exists(), said
    assert "'b': 'not started'" in said and "'a': 'ended by SIGTERM" in said
    assert not (tmp_path / "b.log").exists()

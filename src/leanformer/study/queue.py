"""What a study has submitted to Slurm, written down in `queue/` of its directory, and what of it is still to come.

A submission is an array of allocations, and an allocation runs one job or several short ones. Its record is written
before it is submitted, with a number of its own that Slurm keeps as the comment of the array. So whoever reads the
directory, from any machine and after any kill, can ask Slurm which jobs wait or run, and starts none of them again.

announce     the record is there, and names no task
confirm      it names the tasks that Slurm has made of it
withdraw     Slurm did not take it: the record is removed
ended        every task has returned, or has left Slurm's queue without a word (cancelled, out of memory): `close_ended`
             writes that down, and from then on nobody asks Slurm about the submission

    queue/NUMBER.json    {"user": ..., "allocations": [{job: its directory, ...}, ...], "tasks": ["123_0", ...]}
    queue/123_0_0_log.out               output of an allocation
    queue/123_0_submitted.pkl, _0_result.pkl      what it was given and what it returned (submitit's files)
"""

import getpass
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.files import write_json
from leanformer.study.job import Job

FOLDER = "queue"
ENDED = (
    *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED"),
)
SUBMITTING = 3600.0
"""Seconds after which a submission that Slurm does not know, and whose command did not live to say so, never comes: an
sbatch that outlives the killed command may be waiting for a busy controller."""


@dataclass(frozen=True)
class Place:
    """Where a job is: Slurm's name of the array task, and its state there, such as PENDING or RUNNING."""

    task: str
    state: str
    directory: str
    """The directory of the job."""


class Queue:
    def __init__(self, study: Path) -> None:
        self.folder = study.absolute() / FOLDER

    def announce(self, allocations: Sequence[Sequence[Job]]) -> str:
        """Write down what is about to be submitted; returns its number."""
        number = uuid.uuid4().hex
        listed = [{job.name: str(job.directory.absolute()) for job in jobs} for jobs in allocations]
        self._write(number, {"user": getpass.getuser(), "allocations": listed, "tasks": []})
        return number

    def confirm(self, number: str, tasks: Sequence[str]) -> None:
        """Write down how Slurm calls the allocations."""
        self._write(number, _read(self._file(number)) | {"tasks": list(tasks)})

    def withdraw(self, number: str) -> None:
        """Forget a submission that Slurm did not take; it stays where Slurm has it nevertheless, or does not answer."""
        try:
            taken = any(comment == number for _, comment in asked([getpass.getuser()]).values())
        except OSError:
            taken = True
        if not taken:
            self._file(number).unlink(missing_ok=True)

    def places(self) -> dict[str, Place]:
        """Returns where each job is that waits or runs. OSError if Slurm cannot be asked."""
        left = list(self._open())
        states = asked(_users(left)) if left else {}
        return {name: place for record, file in left for name, place in _places(record, file.stem, states)}

    def close_ended(self) -> None:
        """Write down which submissions of this user have ended; for a command that has the study to itself. OSError if
        Slurm cannot be asked."""
        own = [(record, file) for record, file in self._open() if _users([(record, file)]) == [getpass.getuser()]]
        states = asked([getpass.getuser()]) if own else {}
        for record, file in own:
            submitted = record["tasks"] or time.time() - file.stat().st_mtime > SUBMITTING
            if submitted and not dict(_places(record, file.stem, states)):
                write_json(file, record | {"ended": True})

    def result(self, task: str) -> Path:
        """The file in which submitit keeps what the task returned."""
        return self.folder / f"{task}_0_result.pkl"

    def records(self) -> Iterator[tuple[dict[str, Any], Path]]:
        """All submissions, each with its file."""
        for file in sorted(self.folder.glob("*.json")):
            yield _read(file), file

    def _open(self) -> Iterator[tuple[dict[str, Any], Path]]:
        """The submissions that have not ended: a task of theirs has returned nothing yet."""
        for record, file in self.records():
            returned = record["tasks"] and all(self.result(task).exists() for task in record["tasks"])
            if not returned and not record.get("ended"):
                yield record, file

    def _write(self, number: str, record: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file(number), record)

    def _file(self, number: str) -> Path:
        return self.folder / f"{number}.json"


def asked(users: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns Slurm's {task: (state, comment)} of these users' jobs that wait or run; OSError if it does not answer."""
    if shutil.which("squeue") is None:
        raise OSError("there is no squeue here, so Slurm cannot be asked: give the command on a machine of the cluster")
    command = ["squeue", "--noheader", "--array", f"--user={','.join(users)}", "--format=%i|%T|%k"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise OSError(f"Slurm does not answer ({found.stderr.strip()}): try again later")
    rows = [line.strip().split("|", 2) for line in found.stdout.splitlines() if line.count("|") >= 2]
    return {task: (state, comment) for task, state, comment in rows if state not in ENDED}


def _users(records: Sequence[tuple[Mapping[str, Any], Path]]) -> list[str]:
    """Who has submitted these; records of earlier versions do not say it."""
    return sorted({record.get("user") or getpass.getuser() for record, _ in records})


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _places(
    record: Mapping[str, Any], number: str, states: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, Place]]:
    """Of a submission whose tasks were not written down, since its process was killed, the comment says which it is."""
    own = {task: state for task, (state, comment) in states.items() if comment == number or task in record["tasks"]}
    for task, state in own.items():
        _, _, index = task.partition("_")
        for name, directory in record["allocations"][int(index or 0)].items():
            yield name, Place(task, state, directory)

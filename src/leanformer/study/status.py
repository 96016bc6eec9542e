"""How far the runs below a directory are, read from their records: by anyone who sees the directory, on any machine.

finished, stopped, failed     as run.json says
running                       a process holds the directory, or has touched its lock in the last minutes
killed                        begun, and no process holds it
PENDING, CONFIGURING ...      Slurm's state of a run that waits in its queue
waiting                       listed by a comparison, and not begun
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.locks import LEASE, NAME, holder
from leanformer.records import reading
from leanformer.records.studies import Study
from leanformer.study.queue import FOLDER, Place, Queue
from leanformer.training.run.curve import read_curve
from leanformer.training.run.record import RunDirectory


@dataclass(frozen=True)
class RunStatus:
    run: str
    """Its path below the directory."""
    state: str
    done: float
    """The part of its budget that is done, from 0 to 1."""
    step: int
    loss: float | None
    """Training loss at the last logged step."""
    note: str
    """The process or Slurm task that has the run, or why it failed."""


def status(directory: Path) -> list[RunStatus]:
    """FileNotFoundError if there is no run below the directory, nor one that is listed."""
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such directory; give one of a run, a comparison or another study")
    places = _queued(directory)
    folders = {record.parent for record in directory.rglob("run.json")}
    folders |= {folder for study in directory.rglob("comparison.json") for folder in _listed(study)}
    if not folders:
        raise FileNotFoundError(f"{directory} holds no run yet, and no comparison: check the path")
    return [_status(folder, directory, places.get(str(folder.absolute()))) for folder in sorted(folders)]


def _listed(study: Path) -> Iterator[Path]:
    for run in reading.read(study, Study, "restore it").get("runs", []):
        yield study.parent / run["path"]


def _queued(directory: Path) -> Mapping[str, Place]:
    """{directory of a run: where it waits or runs}; empty where Slurm cannot be asked."""
    found = dict[str, Place]()
    for folder in directory.rglob(FOLDER):
        with suppress(OSError):
            found |= {place.directory: place for place in Queue(folder.parent).places().values()}
    return found


def _status(folder: Path, root: Path, place: Place | None) -> RunStatus:
    name = folder.relative_to(root).as_posix()
    task = "" if place is None else f"Slurm task {place.task}"
    run = RunDirectory(folder)
    if not run.record.is_file():
        return RunStatus(name, "waiting" if place is None else place.state, 0.0, 0, None, task)
    record = run.read()
    state, results = str(record.get("status")), record.get("results") or {}
    curve = read_curve(run.curve) if run.curve.exists() else []
    last = curve[-1] if curve else {}
    done = 1.0 if state == "finished" else _fraction(record, last)
    note = str(record.get("error") or "") if state == "failed" else ""
    if state != "finished":
        owner = holder(folder)
        if owner and _alive(folder, owner):
            words = f"process {owner.get('pid', '?')} on {owner.get('host', '?').partition('?')[0]}"
            state, note = "running", task or words
        elif place is not None:
            state, note = place.state, task
        elif state == "running":
            state = "killed"
    step = int(results.get("steps") or last.get("step") or 0)
    return RunStatus(name, state, done, step, last.get("loss"), note)


def _fraction(record: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    training = (record.get("settings") or {}).get("training") or {}
    for budget, unit in (("max_steps", "step"), ("max_tokens", "tokens"), ("max_seconds", "seconds")):
        if training.get(budget):
            return float(min(1.0, last.get(unit, 0) / training[budget]))
    return 0.0


def _alive(folder: Path, owner: Mapping[str, str]) -> bool:
    """Whether the lock was touched lately; its process does so three times in `LEASE`. Clocks may differ a little."""
    with suppress(OSError):
        return time.time() - os.stat(folder / NAME).st_mtime < 3 * LEASE
    return False

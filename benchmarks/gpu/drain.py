"""Run the queue `queue.toml` on a machine with a GPU, without a network, in slices of a few minutes.

    python benchmarks/gpu/drain.py --data SHARDS --out DIR [--minutes 9] [--work WORK] [--queue FILE] [--again A,B]

One call is a slice, and each call continues the previous one. First the available pieces of SHARDS (`pack.py`) are
unpacked into WORK. Then runs start, one at a time, in the order of the queue (most important first), if they fit into
the remaining time:

    a run             needs `minutes`, after which it is stopped: "too long"
    a resumable run   takes the rest of the slice and of its `minutes`; at the end of the slice SIGTERM requests a
                      checkpoint ("interrupted"), and the next slice continues it with `--resume`

A run that fails is recorded and the next one starts; neither it nor the runs that need it are tried again, unless
--again names them. DIR holds the results: state.json (status, slices, seconds, the end of the log of every run) and a
folder or a file per run; checkpoints and models stay in WORK. Both may be moved to another machine, or only DIR, after
which finished runs are not repeated. The exit status is 0 even if runs fail.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from pack import unpack  # noqa: E402  beside this file, which is no package

ROOT = Path(__file__).parents[2]
PROGRAMS = {"python": [sys.executable], "leanformer": [sys.executable, "-m", "leanformer_cli"]}
"""First words of commands: the package need not be installed."""
LEAST, GRACE, TAIL = 60.0, 45.0, 40
"""The least seconds for resuming a run; the seconds for saving after SIGTERM; lines of a log in state.json."""
ATTEMPTS = 2
"""The slices that may be killed during a run that cannot resume, before the run counts as failed."""
OVER = ("finished", "failed", "too long")


@dataclass(frozen=True, kw_only=True)
class Run:
    """An entry of the queue. In its command {data}, {tasks}, {runs}, {run} (its folder in WORK) and {out} (its file
    DIR/NAME.json) are replaced."""

    name: str
    why: str
    minutes: float
    command: str
    resumable: bool = False
    """Whether the run saves itself on SIGTERM with status 143, and continues with `resume`."""
    resume: str = "--resume"
    """The option that continues the run; empty if the same command does."""
    needs: str | None = None
    """The run that must be finished before this one."""
    keep: list[str] = field(default_factory=list)
    """Patterns of files of {run} that are copied to DIR/NAME/ whenever it ends."""


@dataclass
class Outcome:
    status: str = "waiting"
    slices: int = 0
    seconds: float = 0.0
    returncode: int | None = None
    log: list[str] = field(default_factory=list)


def read_queue(path: Path) -> list[Run]:
    """Returns the queue; raises ValueError for an invalid entry, or one that needs a later run."""
    runs: list[Run] = []
    known = {f.name for f in fields(Run)}
    for table in tomllib.loads(path.read_text(encoding="utf-8"))["run"]:
        name = table.get("name", f"number {len(runs) + 1}")
        lacking = {"name", "why", "minutes", "command"} - table.keys()
        if lacking or table.keys() - known:
            raise ValueError(f"{path}, run {name}: lacks {sorted(lacking)}, unknown {sorted(table.keys() - known)}")
        run = Run(**table)
        earlier = {earlier_run.name for earlier_run in runs}
        if name in earlier or (run.needs is not None and run.needs not in earlier):
            raise ValueError(f"{path}, run {name}: there twice, or before {run.needs}, which it needs")
        runs.append(run)
    return runs


class Drain:
    def __init__(self, runs: Sequence[Run], out: Path, work: Path, end: float, missing: Sequence[str] = ()) -> None:
        """`end` is the end of the slice by time.monotonic; while pieces are `missing`, runs that read the data wait."""
        self.runs, self.out, self.work, self.end, self.missing = runs, out, work, end, missing
        self.state = out / "state.json"
        for folder in (out, work / "runs", work / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.outcomes = {run.name: Outcome(**before.get(run.name, {})) for run in runs}
        for run in runs:
            outcome = self.outcomes[run.name]
            if outcome.status == "running":  # the slice was killed during this run
                outcome.status = "interrupted" if run.resumable or outcome.slices < ATTEMPTS else "failed"
        self.stopped = False

    def forget(self, names: Sequence[str]) -> None:
        """Remove the outcomes of these runs."""
        for name in names:
            if name not in self.outcomes:
                raise ValueError(f"--again {name}: the queue has no such run")
            self.outcomes[name] = Outcome()
            shutil.rmtree(self.work / "runs" / name, ignore_errors=True)

    def run(self) -> None:
        while not self.stopped and (found := self.next()):
            self.execute(*found)
        self.write()

    def next(self) -> tuple[Run, float] | None:
        """Returns the first run that may start, and the seconds it may take."""
        left = self.end - time.monotonic()
        for run in self.runs:
            outcome = self.outcomes[run.name]
            ready = run.needs is None or self.outcomes[run.needs].status == "finished"
            data = self.missing and ("{data}" in run.command or "{tasks}" in run.command)
            if outcome.status in OVER or not ready or data:
                continue
            if run.resumable:
                allowed = min(left - GRACE, 60 * run.minutes - outcome.seconds)
                if allowed >= min(LEAST, 60 * run.minutes - outcome.seconds):
                    return run, allowed
            elif 60 * run.minutes <= left:
                return run, 60 * run.minutes
        return None

    def execute(self, run: Run, allowed: float) -> None:
        outcome = self.outcomes[run.name]
        folder, log = self.work / "runs" / run.name, self.work / "logs" / f"{run.name}.log"
        command = self.command(run)
        if run.resumable and folder.is_dir() and any(folder.iterdir()):
            command += shlex.split(run.resume)
        elif not run.resumable:
            shutil.rmtree(folder, ignore_errors=True)
        outcome.status, outcome.slices = "running", outcome.slices + 1
        self.write()
        print(f"{run.name}: {shlex.join(command)}", flush=True)
        start = time.monotonic()
        with log.open("ab") as file:
            code, asked = self.supervise(command, file, start + allowed)
        outcome.seconds = round(outcome.seconds + time.monotonic() - start, 1)
        outcome.returncode, outcome.log = code, _tail(log)
        outcome.status = self.judge(run, outcome, code, asked)
        self.keep(run, folder)
        self.write()
        print(f"{run.name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)

    def command(self, run: Run) -> list[str]:
        places = {
            "data": self.work / "data",
            "tasks": self.work / "tasks",
            "runs": self.work / "runs",
            "run": self.work / "runs" / run.name,
            "out": self.out / f"{run.name}.json",
        }
        text = run.command
        for name, path in places.items():
            text = text.replace(f"{{{name}}}", shlex.quote(str(path.resolve())))
        first, *rest = shlex.split(text)
        return [*PROGRAMS.get(first, [first]), *rest]

    def supervise(self, command: list[str], log: Any, end: float) -> tuple[int, bool]:
        """Returns the status of the command, and whether it was asked to end. All its children end with it."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).strip(":")
        try:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment, process_group=0
            )
        except OSError as error:
            log.write(f"{command[0]}: {error}\n".encode())
            return 127, False
        asked = False
        while process.poll() is None:
            if not asked and (self.stopped or time.monotonic() >= end):
                asked, end = True, time.monotonic() + GRACE
                _signal(process, signal.SIGTERM)
            elif asked and time.monotonic() >= end:
                _signal(process, signal.SIGKILL)
            time.sleep(0.05)
        _signal(process, signal.SIGKILL)
        return process.returncode, asked

    def judge(self, run: Run, one: Outcome, code: int, asked: bool) -> str:
        if code == 0:
            return "finished"
        if not asked:
            return "failed"
        if self.stopped or (run.resumable and one.seconds < 60 * run.minutes):
            return "interrupted"
        return "too long"

    def keep(self, run: Run, folder: Path) -> None:
        for pattern in run.keep:
            for file in sorted(folder.glob(pattern)):
                target = self.out / run.name / "-".join(file.relative_to(folder).parts)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)

    def stop(self, *_: object) -> None:
        """End the slice early, and ask the current run to save itself."""
        self.stopped = True

    def write(self) -> None:
        """Write state.json as a whole or not at all, so that the next slice can read it after any interruption."""
        fresh = self.state.with_suffix(".tmp")
        record = {name: asdict(one) for name, one in self.outcomes.items()}
        fresh.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.state)

    def table(self) -> str:
        rows = [f"{one.status:12} {one.slices:3} {one.seconds:7.0f} s  {name}" for name, one in self.outcomes.items()]
        return "\n".join(rows)


def _tail(log: Path) -> list[str]:
    """Returns the last lines; of a line that was overwritten (a progress bar), its last text."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.rpartition("\r")[2][-300:] for line in lines[-TAIL:]]


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to the command and all its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def main(arguments: Sequence[str] | None = None) -> None:
    start = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="SHARDS", help="Made by pack.py; some of its pieces are enough.")
    parser.add_argument("--out", type=Path, required=True, help="For results: docs/results/gpu.")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--work", type=Path, default=Path("runs/gpu"), help="For data, checkpoints and models.")
    parser.add_argument("--queue", type=Path, default=Path(__file__).with_name("queue.toml"))
    parser.add_argument("--again", default="", help="Names of runs to repeat.")
    options = parser.parse_args(arguments)
    try:
        runs = read_queue(options.queue)
        missing = unpack(options.data, options.work) if options.data else []
        if not (options.work / "data").is_dir():
            missing = missing or ["--data"]
        drain = Drain(runs, options.out, options.work, start + 60 * options.minutes, missing)
        drain.forget([name for name in options.again.split(",") if name])
    except (ValueError, OSError) as error:
        sys.exit(f"drain: {error}")
    if missing:
        print(f"waiting for {', '.join(missing)} of the data")
    signal.signal(signal.SIGTERM, drain.stop)
    signal.signal(signal.SIGINT, drain.stop)
    drain.run()
    print(drain.table())


if __name__ == "__main__":
    main()

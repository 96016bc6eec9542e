"""A campaign of kills: `make torture`, or python -m tests.torture [--kills 100] [--seed 0] [--minutes 30] [--verbs A,B]

Each trial runs one command in a directory of its own, ends it at a random instant of its time, once or twice, then lets
the same command (or the one that goes on) reach its end, and compares every file with those of an undisturbed run.

    SIGKILL                          no warning
    SIGTERM, SIGHUP, SIGUSR1         nothing half-written and no lock may stay behind, the exit status is 128 + signal
    full                             no file may grow beyond a random size (RLIMIT_FSIZE), as on a full disk: status 2,
                                     one line, no hidden name in it, nothing half-written stays behind

A kill counts if the command was running when it came; where it came is read off what it left: in the middle of a write
(a hidden `.tmp` or `.old`), while it held a directory (`.lock`), or elsewhere. Exit status 1 after any difference.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.commands import COMMANDS, Command, make_material
from tests.torture.outcome import differences, hidden
from tests.torture.server import Server

STARTING = 0.1
"""Seconds until a command listens to signals, at most; before, they end it as they end any process."""
WAYS = {"SIGKILL": 10, "SIGTERM": 3, "SIGHUP": 2, "SIGUSR1": 1, "full": 4}
"""How often each is drawn."""


@dataclass
class Tally:
    kills: Counter[str] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    """The command had ended before."""
    faults: list[str] = field(default_factory=list)


class Campaign:
    def __init__(self, server: Server, material: Path, place: Path, seed: int) -> None:
        self.server, self.material, self.place = server, material, place
        self.draw = random.Random(seed)
        self.whole: dict[str, tuple[Path, float]] = {}
        self.tallies: dict[str, Tally] = {name: Tally() for name in COMMANDS}

    def undisturbed(self, command: Command) -> tuple[Path, float]:
        """The directory of a run that nobody disturbs, and its seconds."""
        if command.name not in self.whole:
            folder = command.directory(self.place / "whole" / command.name, self.material)
            begin = time.monotonic()
            status = self.server.start(command.arguments, folder).wait()
            if status:
                raise SystemExit(f"{command.name} fails undisturbed:\n{(folder / 'log').read_text()}")
            self.whole[command.name] = (folder, time.monotonic() - begin)
        return self.whole[command.name]

    def trial(self, command: Command, number: int) -> int:
        """Disturb and finish; how many kills came while the command was running."""
        whole, seconds = self.undisturbed(command)
        folder, tally = command.directory(self.place / f"{number}-{command.name}", self.material), Tally()
        for _ in range(self.draw.choice((1, 1, 2))):
            self._disturb(command, folder, seconds, whole, tally)
        status = self.server.start(command.arguments, folder).wait()
        log = (folder / "log").read_text(errors="replace")
        if status and not (command.refuses and command.refuses in log.splitlines()[-1]):
            tally.faults.append(f"status {status} at the end: {log.strip().splitlines()[-1:]}")
        tally.faults += [f"left behind: {path}" for path in hidden(folder)]
        tally.faults += differences(folder, whole)
        if tally.faults:
            print(f"{command.name}, trial {number}, {dict(tally.kills)}, in {folder}:", *tally.faults[:5], sep="\n  ")
        total = self.tallies[command.name]
        total.kills += tally.kills
        total.where += tally.where
        total.missed += tally.missed
        total.faults += tally.faults
        return tally.kills.total()

    def _disturb(self, command: Command, folder: Path, seconds: float, whole: Path, tally: Tally) -> None:
        way = self.draw.choices(list(WAYS), list(WAYS.values()))[0]
        before = set(hidden(folder))  # what an earlier kill left stays until a command gets as far as to write
        if way == "full":
            sizes = [path.stat().st_size for path in whole.rglob("*") if path.is_file() and path.name != "log"]
            limit = self.draw.randrange(1, max(sizes))
            child = self.server.start(command.arguments, folder, limit)
            status = child.wait()
            self._count(tally, way, folder, status == 2)
            if status not in (0, 2):
                tally.faults.append(f"status {status} with files of at most {limit} bytes")
            self._require_clean(tally, folder, way, before)
            return
        child = self.server.start(command.arguments, folder)
        waited = self.draw.uniform(0, seconds)
        time.sleep(waited)
        running = child.running()
        child.kill(getattr(signal, way))
        status = child.wait()
        self._count(tally, way, folder, running)
        number = getattr(signal, way)
        early = waited < STARTING and status == -number
        if way != "SIGKILL" and running and status not in (0, 128 + number) and not early:
            tally.faults.append(f"status {status} after {way}")
        if way != "SIGKILL":
            self._require_clean(tally, folder, way, before)

    def _count(self, tally: Tally, way: str, folder: Path, running: bool) -> None:
        if not running:
            tally.missed += 1
            return
        tally.kills[way] += 1
        names = [path.name for path in hidden(folder)]
        writing = any(name.endswith((".tmp", ".old")) for name in names)
        tally.where["in a write" if writing else "holding a lock" if names else "elsewhere"] += way == "SIGKILL"

    def _require_clean(self, tally: Tally, folder: Path, way: str, before: set[Path]) -> None:
        tally.faults += [f"left behind by {way}: {path}" for path in hidden(folder) if path not in before]
        file = folder / "log"
        log = file.read_text(errors="replace") if file.exists() else ""  # it ended before it had one
        tally.faults += [f"{way}: a traceback"] if "Traceback" in log else []
        tally.faults += [f"{way}: a hidden name in a message"] if ".tmp" in log else []

    def table(self) -> str:
        titles = ["verb", "kills", *WAYS, "in a write", "holding a lock", "elsewhere", "ended before", "faults"]
        rows = [titles]
        for name, tally in self.tallies.items():
            counts = [*(tally.kills[way] for way in WAYS), *(tally.where[where] for where in titles[7:10])]
            rows.append([name, *map(str, [tally.kills.total(), *counts, tally.missed, len(tally.faults)])])
        sums = [sum(int(row[i]) for row in rows[1:]) for i in range(1, len(titles))]
        rows.append(["all", *map(str, sums)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="start no new trial after these")
    parser.add_argument("--verbs", default=",".join(COMMANDS))
    parser.add_argument("--keep", type=Path, help="work in this new directory, and keep it")
    given = parser.parse_args()
    chosen = [COMMANDS[name] for name in given.verbs.split(",")]
    end, kills, number = time.monotonic() + 60 * given.minutes, 0, 0
    with tempfile.TemporaryDirectory() as scratch, Server() as server:
        place = given.keep or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        place = place.resolve()
        material = make_material(place / "material", server)
        campaign = Campaign(server, material, place, given.seed)
        for command in chosen:
            campaign.undisturbed(command)
        while kills < given.kills and time.monotonic() < end:
            kills += campaign.trial(chosen[number % len(chosen)], number)
            number += 1
    print(campaign.table())
    faults = sum(len(tally.faults) for tally in campaign.tallies.values())
    print(f"{kills} kills in {number} trials, seed {given.seed}: {faults} faults")
    if kills < given.kills:
        print(f"only {kills} of {given.kills} kills within {given.minutes:g} minutes: raise --minutes")
    return 1 if faults or kills < given.kills else 0


if __name__ == "__main__":
    sys.exit(main())

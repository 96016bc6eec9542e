"""plan.json: what a comparison intends, written before its first run and never changed for what it says.

    time, versions, command            when and by what it was written
    attention, baseline, main          the arms, the one all others are compared with, those of the main contrast
    aliases                            what the arms are that have an alias
    metric, margin, task_margin        what the main contrast compares; what counts as equivalent (nats; a fraction)
    family                             which tests are corrected together
    seeds, learning_rates, tuning_seeds, tuning_tokens, tasks, task_seeds
    data_hash, settings_hash           what every run has in common
    amendments                         what a later `--resume` added, each with its time and command

An amendment is written before the runs that it adds. A comparison that has runs but no plan.json never gets one.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leanformer.comparison.plan import Plan
from leanformer.files import write_json
from leanformer.records.reading import SCHEMA, sealed
from leanformer.reporting.records.planned import FILE, FIXED, GROWING, WrittenPlan, read_plan
from leanformer.training.run.record import versions

FAMILY = "the arms of the main contrast against the baseline, in one metric (Holm)"


def check_amends(out: Path, plan: Plan, finished: bool) -> None:
    """ValueError if the command changes what the written plan fixes, after a run has `finished`."""
    written = read_plan(out)
    if written is None or not finished:
        return
    now = _intention(plan)
    for key in ("baseline", "main", "margin", "task_margin"):
        if now[key] != written.in_force(key):
            raise ValueError(
                f"{out / FILE} says {key} = {written.in_force(key)!r}, this command {now[key]!r}, and runs have "
                "finished: repeat what was planned, or give another --out"
            )


def write_plan(out: Path, plan: Plan, invariants: dict[str, Any], begun: bool) -> None:
    """Write plan.json if no run has `begun`; append to it what this command adds to what it said before."""
    written = read_plan(out)
    if written is not None:
        if added := _addition(written, plan):
            amendments = [*written.record["amendments"], _stamp(plan) | added]
            _write(out, written.record | {"amendments": amendments})
    elif not begun:
        record = _stamp(plan) | {"versions": versions()} | _intention(plan)
        record |= {
            "tuning_tokens": plan.tuning_tokens,
            "metric": "final_loss",
            "family": FAMILY,
            "data_hash": plan.data["hash"],
        }
        text = json.dumps(invariants, sort_keys=True)
        record |= {"settings_hash": hashlib.sha256(text.encode()).hexdigest(), "amendments": []}
        _write(out, record)


def _write(out: Path, record: dict[str, Any]) -> None:
    write_json(out / FILE, sealed({"schema": SCHEMA, **record}))


def _stamp(plan: Plan) -> dict[str, Any]:
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "command": plan.command}


def _intention(plan: Plan) -> dict[str, Any]:
    record = plan.record()
    return {key: record[key] for key in (*GROWING, *FIXED, "aliases")}


def _addition(written: WrittenPlan, plan: Plan) -> dict[str, Any]:
    """What this command intends and the plan in force does not."""
    now, added = _intention(plan), dict[str, Any]()
    for key in GROWING:
        if items := [item for item in now[key] or () if item not in written.in_force(key)]:
            added[key] = items
    if aliases := {name: of for name, of in now["aliases"].items() if name in added.get("attention", ())}:
        added["aliases"] = aliases
    return added | {key: now[key] for key in FIXED if now[key] != written.in_force(key)}

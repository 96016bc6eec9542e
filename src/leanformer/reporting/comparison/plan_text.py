"""What a report says about the plan of its comparison, and its marks on later additions to the plan."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from leanformer.reporting.numbers.quantities import listed, several
from leanformer.reporting.records.planned import FIXED, GROWING, WrittenPlan
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.document import Block, Paragraph, Points, Table

NO_PLAN = (
    "No plan was written before these runs, so there is no record of what was decided before their results were seen."
)
NAMES = {
    "baseline": "the baseline",
    "main": "the main contrast",
    "margin": "the margin",
    "task_margin": "the margin of tasks",
    "task_seeds": "the number of fine-tunings of each model and task",
}


def blocks(plan: WrittenPlan | None, missing: Iterable[str]) -> list[Block]:
    """Returns the text about the plan; `missing` are planned mechanisms, seeds and tasks without runs."""
    if plan is None:
        return [Paragraph(NO_PLAN)]
    record, main, absent = plan.record, plan.in_force("main"), list(missing)
    what = f"{listed(main)} against" if main else "every other mechanism against"
    said = [
        f"The plan was written at {_moment(record['time'])}, before the first run: "
        f"{listed(record['attention'])} with seeds {ranges(record['seeds'])}."
    ]
    if record.get("learning_rates"):
        rates = listed([f"{rate:g}" for rate in record["learning_rates"]])
        one, tokens = len(record["tuning_seeds"]) == 1, record.get("tuning_tokens")
        shorter = f" for {tokens:,} tokens" if tokens else ""
        said.append(
            f"Learning rates {rates} are tried on {'tuning seed' if one else 'tuning seeds'} "
            f"{ranges(record['tuning_seeds'])}{shorter}, and the one with the lowest mean validation loss is taken."
        )
    if record.get("tasks"):
        said.append(
            f"The tasks are {listed(record['tasks'])}, with {several(record['task_seeds'] or 1, 'run')} per model."
        )
    said.append(
        f"The main contrast is {what} {plan.in_force('baseline')} in final loss. Losses count as equivalent within "
        f"{_short(plan.in_force('margin'))} nats, scores within {_points(plan.in_force('task_margin'))}. "
        f"Corrected together: {record['family']}."
    )
    points = [_amendment(entry) for entry in record["amendments"]]
    points += [f"Planned, but without a run in this report: {listed(absent)}."] if absent else []
    return [Paragraph(" ".join(said)), *([Points(points)] if points else [])]


def other_baseline(study: Study) -> str:
    """Returns the sentence about a report against another baseline than the comparison planned."""
    return (
        f"All arms are compared with {study.baseline} here, whereas {study.planned_baseline} is the baseline that was "
        "planned: every contrast of this report is exploratory and does not confirm anything."
    )


def footnoted(table: Table, plan: WrittenPlan | None) -> Table:
    """Returns the table with a note on the mechanisms, tasks and seeds that were added after the plan was written."""
    if plan is None:
        return table
    added = {*plan.added("attention"), *plan.added("tasks")}
    names = [cell for row in [table.header, *table.rows] for cell in row if cell in added]
    if "Seed" in table.header:
        column = table.header.index("Seed")
        seeds = {str(seed) for seed in plan.added("seeds")}
        names += [f"seed {row[column]}" for row in table.rows if row[column] in seeds]
    shown = list(dict.fromkeys(names))
    if not shown:
        return table
    note = f"Added later, not in the plan: {listed(shown)}."
    return replace(table, caption=f"{table.caption} {note}".strip())


def ranges(numbers: Iterable[int]) -> str:
    """[1, 2, 3, 7] -> "1 to 3 and 7"; two neighbours are not written as a range."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [[f"{run[0]} to {run[-1]}"] if len(run) > 2 else list(map(str, run)) for run in runs]
    return listed([part for group in parts for part in group])


def _amendment(entry: dict[str, Any]) -> str:
    parts = []
    for key, noun in GROWING.items():
        if items := entry.get(key):
            shown = ranges(items) if noun.endswith("seed") else listed([_short(item) for item in items])
            parts.append(f"{noun if len(items) == 1 else f'{noun}s'} {shown}")
    for key in FIXED:
        if key in entry:
            value = listed(entry[key]) if isinstance(entry[key], list) else _short(entry[key] or "every mechanism")
            parts.append(f"{NAMES[key]}, now {value}")
    return f"Added later, at {_moment(entry['time'])}: {'; '.join(parts)}."


def _moment(time: str) -> str:
    """ "2026-11-30T06:00:12+00:00" -> "2026-11-30 06:00 UTC" """
    day, _, clock = time.partition("T")
    return f"{day} {clock[:5]} UTC"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _points(fraction: float) -> str:
    return f"{_short(round(100 * fraction, 6))} point{'' if fraction == 0.01 else 's'}"

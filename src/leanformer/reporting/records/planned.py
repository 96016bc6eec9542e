"""The plan that was written before the first run of a comparison (plan.json), and the later additions to it.

The plan in plan.json never changes; a later command adds an entry of `amendments` with its time:

    planned = plan.json without amendments        added later = what the amendments list        in force = both
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.records import reading, studies

FILE = "plan.json"
GROWING = {
    "attention": "mechanism",
    "seeds": "seed",
    "tuning_seeds": "tuning seed",
    "learning_rates": "learning rate",
    "tasks": "task",
}
"""Lists that an amendment may add to, and the names of their items."""
FIXED = ("baseline", "main", "margin", "task_margin", "task_seeds")
"""Single values, which an amendment may replace."""


@dataclass(frozen=True)
class WrittenPlan:
    record: dict[str, Any]

    def added(self, key: str) -> list[Any]:
        return [item for amendment in self.record["amendments"] for item in amendment.get(key) or ()]

    def in_force(self, key: str) -> Any:
        if key in GROWING:
            return [*(self.record.get(key) or ()), *self.added(key)]
        said = [entry[key] for entry in (self.record, *self.record["amendments"]) if key in entry]
        return said[-1] if said else None


def read_plan(directory: Path) -> WrittenPlan | None:
    """Returns the plan of the comparison in `directory`, None if none was written."""
    file = directory / FILE
    if not file.is_file():
        return None
    return WrittenPlan(reading.read(file, studies.WrittenPlan, "restore it, or give another --out"))

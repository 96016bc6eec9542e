"""Records of studies: comparison.json, robustness.json, and what else a later call continues or reports."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from leanformer.records.reading import Count, Number, Record


def _inside(path: str) -> str:
    """A place in the directory of its study."""
    if path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/") or "\0" in path:
        raise ValueError("a path inside the directory of the comparison is expected")
    return path


RunPath = Annotated[str, AfterValidator(_inside)]


class Planned(Record):
    attention: str
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    learning_rate: Number | None = None
    path: RunPath
    tuning: bool = False


class Comparison(Record):
    """What a report needs of comparison.json."""

    attention: list[str]
    runs: list[Planned]
    baseline: str | None = None
    controls: dict[str, Any] | None = None
    aliases: dict[str, str] | None = None
    tasks: list[str] | None = None
    task_seeds: Count | None = None
    jobs: Count | None = None
    settings: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    command: str | None = None
    learning_rates: list[Number] | None = None
    tuning_seeds: list[int] | None = None
    tuning_tokens: Count | None = None
    main: list[str] | None = None
    margin: Number | None = None
    task_margin: Number | None = None


class Intention(Record):
    """What can be planned: in plan.json all of it, in an amendment what it adds or, of a single value, replaces."""

    time: str
    command: str | None = None
    attention: list[str] = []
    aliases: dict[str, str] | None = None
    seeds: list[int] = []
    tuning_seeds: list[int] = []
    tuning_tokens: Count | None = None
    learning_rates: list[Number] | None = None
    tasks: list[str] = []
    task_seeds: Count | None = None
    baseline: str | None = None
    main: list[str] | None = None
    margin: Number | None = None
    task_margin: Number | None = None


class WrittenPlan(Intention):
    """plan.json of a comparison: what was decided before its first run, and what was added later."""

    attention: list[str]
    seeds: list[int]
    baseline: str
    margin: Number
    task_margin: Number
    family: str
    amendments: list[Intention]


class DataHash(Record):
    hash: str


class ContinuedComparison(Record):
    """What it takes to go on with one."""

    attention: list[str] = []
    aliases: dict[str, str] | None = None

    settings: dict[str, dict[str, Any]]
    data: DataHash
    learning_rates: list[Number] | None
    tuning_seeds: list[int] | None = None
    tuning_tokens: Count | None = None
    runs: list[Planned] = []


class Study(Record):
    """The record of another study: the settings it was started with."""

    kind: str | None = None


class Robustness(Study):
    settings: dict[str, Any]


class Test(Record):
    axis: str
    at: str | Number | None


class Tests(Record):
    tests: list[Test]

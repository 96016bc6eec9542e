"""The function behind `leanformer reproduce`: the studies of a paper at a scale, then its tables with verdicts.

    OUT/reproduction.json                        what was asked
    OUT/data/                                    texts and pairs that were prepared for it
    OUT/studies/STUDY/                           a comparison, a study of robustness or a race, with its own report
    OUT/results.json, report.md, report.html     the paper's tables

What is finished stays: the same command goes on where it was stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from leanformer.bench.verbs import mechanisms as race
from leanformer.comparison.compare import compare
from leanformer.comparison.variants import parse_variants
from leanformer.data.prepare import prepare
from leanformer.data.prepare_pairs import prepare_pairs
from leanformer.records import reading
from leanformer.records.studies import Study
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_document
from leanformer.reproduction.contents import contents
from leanformer.reproduction.metrics import Measurements
from leanformer.reproduction.published import Paper, read_paper
from leanformer.reproduction.results import results
from leanformer.reproduction.studies import Planned, read_studies
from leanformer.reproduction.tables import judged
from leanformer.robustness.plan import Plan
from leanformer.robustness.study import read_findings, robustness
from leanformer.study.directory import StudyDirectory
from leanformer.study.execution import Execution

RECORD = "reproduction.json"
FIXED = ("paper", "scale", "set", "text")
"""What a later command repeats."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the user gave: a `text`, prepared or not, instead of the shipped novels; where the tasks are."""

    paper: str
    scale: str
    out: Path
    text: str | None = None
    task_data: str | None = None
    seeds: int | None = None
    execution: Execution = field(default_factory=Execution)
    overrides: tuple[str, ...] = ()
    dry_run: bool = False
    quiet: bool = False
    command: str = ""

    def record(self) -> dict[str, Any]:
        return {
            "schema": reading.SCHEMA,
            "paper": self.paper,
            "scale": self.scale,
            "text": self.text,
            "task_data": self.task_data,
            "seeds": self.seeds,
            "set": list(self.overrides),
            "command": self.command,
        }


def reproduce(given: Given, only: Sequence[str] = ()) -> dict[str, Any]:
    """Make what is still to be made of the studies, or `only` of these, and write the report; returns results.json."""
    paper, studies = read_paper(given.paper), read_studies(given.paper, given.scale, given.overrides)
    for name in only:
        if name not in [study.name for study in studies]:
            known = ", ".join(study.name for study in studies)
            raise ValueError(f"--studies {name}: {given.paper} at {given.scale} has {known}")
    with _directory(given).claimed(dry_run=given.dry_run):
        _check_continues(given)
        return _carry_out(paper, studies, given, only)


def _carry_out(paper: Paper, studies: list[Planned], given: Given, only: Sequence[str]) -> dict[str, Any]:
    console = Console(quiet=given.quiet, highlight=False)
    missing: dict[str, str] = {}
    _directory(given).write(given.record())
    for study in studies:
        why = _lacks(study, given, missing) or ("left out by --studies" if only and study.name not in only else "")
        if why:
            missing[study.name] = why
            console.print(f"{study.name}: {why}", markup=False, soft_wrap=True)
            continue
        console.print(f"{study.name}: {study.kind}", markup=False, soft_wrap=True)
        MAKERS[study.kind](study, given)
    if given.dry_run:
        return {}
    measurements = _measurements(studies, given, missing)
    rows = judged(paper, measurements)
    found = results(paper, given.record(), rows, measurements)
    write_document(contents(paper, given.record(), rows, measurements), found, given.out)
    console.print(f"report: {given.out / 'report.html'}")
    return found


def _lacks(study: Planned, given: Given, missing: dict[str, str]) -> str:
    """Returns why the study cannot be made; '' if it can."""
    if study.options.get("of") in missing:
        return f"needs the study {study.options['of']}, which was not made"
    lacking = []
    if study.needs and given.text is None:
        lacking.append(f"--text ({study.needs})")
    if study.needs_tasks and given.task_data is None:
        lacking.append("--task-data (a folder with one folder per task)")
    if lacking:
        return f"needs {' and '.join(lacking)}"
    return ""


def _compared(study: Planned, given: Given) -> None:
    out = _folder(study, given)
    compare(
        study.settings,
        _data(study, given),
        out,
        variants=parse_variants(study.options["attention"]),
        seeds=list(range(1, (given.seeds or study.options["seeds"]) + 1)),
        tasks=study.options.get("tasks", []),
        task_data=given.task_data if study.options.get("tasks") else None,
        task_seeds=study.options.get("task_seeds", 1),
        execution=given.execution,
        resume=(out / "comparison.json").exists(),
        dry_run=given.dry_run,
        quiet=given.quiet,
        command=given.command,
    )


def _robust(study: Planned, given: Given) -> None:
    source = given.out / "studies" / study.options["of"]
    if given.dry_run and not source.exists():
        return
    plan = _plan(study, given)
    robustness([source], _folder(study, given), plan, given.execution, dry_run=given.dry_run, quiet=given.quiet)


def _plan(study: Planned, given: Given) -> Plan:
    asked = {key: value for key, value in study.options.items() if key != "of"}
    assert given.task_data is not None
    return Plan(task_data=given.task_data, settings=study.settings, command=given.command, **asked)


def _raced(study: Planned, given: Given) -> None:
    out = _folder(study, given)
    if not given.dry_run and not out.exists():
        race(**study.options, out=out, quiet=given.quiet)


MAKERS = {"comparison": _compared, "robustness": _robust, "speed": _raced}


def _data(study: Planned, given: Given) -> Path:
    """The data directory that the study reads, made if it is not there yet."""
    if study.pairs is not None:
        options = dict(study.pairs)
        task = options.pop("task")
        folder = given.out / "data" / task
        if not folder.exists():
            assert given.task_data is not None
            prepare_pairs(task, given.task_data, folder, **options)
        return folder
    text = given.text or "shipped:novels"
    if (Path(text) / "data.json").is_file():
        return Path(text)
    folder = given.out / "data" / "-".join(["text", *map(str, study.text.values())])
    if not folder.exists():
        prepare(text, folder, quiet=True, **study.text)
    return folder


def _folder(study: Planned, given: Given) -> Path:
    return given.out / "studies" / study.name


def _measurements(studies: list[Planned], given: Given, missing: dict[str, str]) -> Measurements:
    found = Measurements(missing=missing)
    for study in studies:
        folder = _folder(study, given)
        if study.name in missing:
            continue
        if study.kind == "comparison":
            found.comparisons.update(dict.fromkeys([study.name, *study.serves], read_study(folder)))
        elif study.kind == "robustness":
            source = given.out / "studies" / study.options["of"]
            found.robustness[study.name] = read_findings([source], folder, _plan(study, given))
        else:
            found.races[study.name] = reading.read(
                folder / "results.json", Study, "delete its folder, and repeat the command"
            )
    return found


def _check_continues(given: Given) -> None:
    study = _directory(given)
    before = study.read()
    if before is None:
        return study.require_free()
    old, now = ({key: of.get(key) for key in FIXED} for of in (before, given.record()))
    study.require_same(old, now)


def _directory(given: Given) -> StudyDirectory:
    return StudyDirectory(given.out, RECORD, Study, "reproduction")

"""The table of contents of a rebuilt paper: its claim, its tables and curves with verdicts, and the studies behind."""

from collections.abc import Iterator
from typing import Any

from leanformer.reporting.comparison import loss_tables, target_tables
from leanformer.reporting.comparison import tables as study_tables
from leanformer.reporting.figures.frame import numbered
from leanformer.reporting.numbers.quantities import listed, several
from leanformer.reporting.records.schedules import schedule_notes
from leanformer.reporting.render.document import Block, Code, Document, Paragraph, Points, Section
from leanformer.reproduction.figure import picture
from leanformer.reproduction.metrics import Measurements
from leanformer.reproduction.published import Paper
from leanformer.reproduction.results import count
from leanformer.reproduction.tables import Judged, table
from leanformer.reproduction.verdict import VERDICTS


def contents(paper: Paper, asked: dict[str, Any], rows: list[Judged], measurements: Measurements) -> Document:
    sections = [Section("What was claimed", [Paragraph(paper.claim), Paragraph(f"{paper.reference}.")])]
    for of in paper.tables:
        found = [r for r in rows if r.table is of]
        sections.append(Section(of.title, [table(of, found)]))
    sections += _curves(paper, measurements)
    sections.append(Section("What to keep in mind", [Points([*paper.notes, *_scale(asked, measurements)])]))
    sections += _studies(measurements)
    if asked["command"]:
        sections.append(Section("To repeat it", [Code(asked["command"])]))
    study = next(iter(measurements.comparisons.values()), None)
    return Document(
        f"{paper.title}: rebuilt at the scale {asked['scale']}",
        headline(rows),
        _facts(asked, rows, measurements),
        sections,
        {} if study is None else numbered(study),
    )


def headline(rows: list[Judged]) -> str:
    found = count(rows)
    said = listed([f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict]])
    return f"Of {several(len(rows), 'published comparison')}: {said}."


def _facts(asked: dict[str, Any], rows: list[Judged], found: Measurements) -> list[tuple[str, str]]:
    seeds = sorted({seed for r in rows for seed in r.measured.seeds})
    made = [*(study.directory.name for study in found.comparisons.values()), *found.robustness, *found.races]
    return [
        ("Scale", asked["scale"]),
        ("Studies", listed(list(dict.fromkeys(made))) if made else "none"),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
    ]


def _curves(paper: Paper, measurements: Measurements) -> Iterator[Section]:
    for curves in paper.curves:
        if curves.study in measurements.comparisons:
            drawn = picture(curves, measurements.comparisons[curves.study])
            if drawn is not None:
                yield Section("Curves", [drawn])


def _scale(asked: dict[str, Any], measurements: Measurements) -> list[str]:
    notes = [
        f"At the scale {asked['scale']} models, texts and budgets are other than the paper's: a verdict is one about "
        "the claim at this scale. Reproduced means the published sign at a Holm-corrected p below 0.05 over seeds, and "
        "for counts the published digits; not testable here: not measured, censored, by models that learned "
        "nothing from context or are no better than chance on the task, or within the paper's own noise."
    ]
    return [*notes, *(f"{name} was not made: {why}." for name, why in measurements.missing.items())]


def _studies(measurements: Measurements) -> Iterator[Section]:
    """What the arms of each comparison cost and reach, controls among them; its own report says the rest."""
    for name, study in measurements.comparisons.items():
        if name != study.directory.name:  # it serves as another one, too
            continue
        findings = measurements.findings(name, str(study.baseline))
        controls = study.plan.get("controls") or {}
        blocks: list[Block] = [Paragraph(f"The whole study: studies/{name}/report.html.")]
        if controls:
            blocks.append(Points([f"{arm}: {what}" for arm, what in controls.items()]))
        blocks += [study_tables.costs(study), *loss_tables.all_losses(findings)]
        if findings.ratios:
            blocks += [*map(Paragraph, schedule_notes(study)), target_tables.ratios(findings)]
        yield Section(f"Study {name}: every arm", blocks)
    for name in measurements.robustness:
        yield Section(f"Study {name}", [Paragraph(f"The whole study: studies/{name}/report.html.")])
    for name in measurements.races:
        yield Section(f"Study {name}", [Paragraph(f"The whole race: studies/{name}/report.md.")])

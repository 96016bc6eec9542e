"""The report's table of contents: for every task the picture, the table of what is lost, and every level."""

from leanformer.reporting.figures.frame import numbered
from leanformer.reporting.numbers.quantities import listed
from leanformer.reporting.render.document import Code, Document, Paragraph, Points, Section
from leanformer.robustness import tables
from leanformer.robustness.figure import picture
from leanformer.robustness.findings import Findings
from leanformer.robustness.wording import asked, caveats, headline


def contents(findings: Findings) -> Document:
    study, plan = findings.study, findings.plan
    sections = [Section("What was asked", [Paragraph(asked(findings))])]
    for task in plan.tasks:
        drawn = picture(findings, task)
        if drawn is not None:
            sections.append(Section(f"{task}: score against noise", [drawn]))
            sections.append(Section(f"{task}: what is lost", [tables.means(findings, task)]))
            sections.append(Section(f"{task}: every level", [tables.levels(findings, task)]))
            if study.challengers:
                sections.append(Section(f"{task}: every difference", [tables.differences(findings, task)], folded=True))
    sections.append(Section("Caveats", [Points(caveats(findings))]))
    if plan.command:
        sections.append(Section("To repeat it", [Code(plan.command)]))
    title = f"Robustness of {listed(study.challengers)} against {study.baseline}" if study.challengers else "Robustness"
    return Document(title, headline(findings), _facts(findings), sections, numbered(study))


def _facts(findings: Findings) -> list[tuple[str, str]]:
    study, plan = findings.study, findings.plan
    done = sum(len(of.clean) for of in findings.scores.values())
    planned = len(findings.scores) * plan.seeds
    return [
        ("Clean fine-tunings", f"{done} of {planned}"),
        ("Pre-training seeds", ", ".join(map(str, study.seeds))),
        ("Fine-tuning seeds", str(plan.seeds)),
        ("Tasks", ", ".join(plan.tasks)),
    ]

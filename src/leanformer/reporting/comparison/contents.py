"""The contents of the report: the order of its sentences, tables and pictures."""

from typing import Any

from leanformer.reporting.analysis import held_out
from leanformer.reporting.analysis.comparison import LOSS, Findings
from leanformer.reporting.analysis.suite import suite_sentence, suite_table, suites
from leanformer.reporting.comparison import (
    loss_tables,
    loss_text,
    plan_text,
    tables,
    target_tables,
    task_tables,
    task_text,
    verdict_table,
)
from leanformer.reporting.comparison.caveats import caveats
from leanformer.reporting.comparison.families import family_sentence, margin_sentence
from leanformer.reporting.comparison.headline import headline, title
from leanformer.reporting.comparison.results import made_by
from leanformer.reporting.figures import figures
from leanformer.reporting.figures.frame import numbered
from leanformer.reporting.numbers.quantities import fixed, listed, several
from leanformer.reporting.records.runs import flat
from leanformer.reporting.records.schedules import schedule_notes
from leanformer.reporting.records.study import ATTENTION_PAGE, Study
from leanformer.reporting.render.document import Block, Code, Document, Link, Paragraph, Points, Section, Table
from leanformer.reporting.render.style import Picture


def contents(findings: Findings) -> Document:
    study = findings.study
    drawn = figures(findings)
    plan = study.written_plan
    sections = [
        Section("The answer", _answer(findings)),
        Section("Loss over training", _pictures(drawn, "curves")),
        Section("The arms", _arms(study)),
        Section("How it was judged", _judged(findings)),
        Section(
            "What each attention costs and reaches",
            [tables.costs(study), *(plan_text.footnoted(table, plan) for table in loss_tables.all_losses(findings))],
        ),
        Section("At N tokens", [at] if (at := loss_tables.at_tokens(findings)) else []),
        Section("Cost against loss", [*_pictures(drawn, "parameters"), *_pictures(drawn, "pareto")]),
        Section("Paired differences", _pictures(drawn, "differences")),
        Section("What a target costs", _targets(findings, drawn)),
        Section(study.wording.section, _finetuning(findings, drawn)),
        Section("Learning-rate sweep", [*_pictures(drawn, "sweep"), tables.sweep(study)] if study.swept else []),
        Section("What the heads attend to", _attention(study)),
        Section("In words", _words(findings), folded=True),
        Section("What was asked", _asked(study)),
        Section("What was planned", _planned(study)),
        Section("What would be missed", [table] if (table := tables.evidence(findings)).rows else []),
        Section("Caveats", [Points(caveats(findings))]),
        Section("Every run", _runs(findings), folded=True),
        Section("To repeat it", _repeat(study)),
        Section("Every setting, version and hash", _particulars(study), folded=True),
    ]
    kept = [section for section in sections if section.blocks]
    return Document(title(study), headline(findings), _facts(study), kept, numbered(study))


def _facts(study: Study) -> list[tuple[str, str]]:
    done = sum(run.status == "finished" for run in study.runs)
    facts = [("Runs finished", f"{done} of {len(study.runs)}"), ("Seeds", ", ".join(map(str, study.seeds)))]
    facts.append(("Training a run", loss_text.budget(study)))
    if study.floor is not None:
        facts.append(("No-context baseline", f"{fixed(study.floor, 3)} nats"))
    if study.unigram is not None:
        facts.append(("Unigram entropy", f"{fixed(study.unigram, 3)} nats"))
    return facts


def _asked(study: Study) -> list[Block]:
    settings = next((run.settings for run in study.runs if run.settings), flat(study.plan.get("settings") or {}))
    if not study.challengers:
        asked = (
            f"One mechanism, {study.attention[0]}, was trained as {study.wording.model}, so there is nothing to "
            "compare it with."
        )
    else:
        do = "do" if len(study.challengers) > 1 else "does"
        asked = (
            f"How {do} {listed(study.challengers)} compare with {study.baseline}, when nothing else changes? Each was "
            f"trained as {study.wording.model} with {several(len(study.seeds), 'seed')}; runs of one seed share "
            f"{study.wording.shared} and the initial values of every weight they have in common, so they are "
            "compared in pairs."
        )
    controls = study.plan.get("controls") or {}
    sentences = [f"{name}: {controls[name]}" for name in study.attention if name in controls]
    return [Paragraph(asked), *([Points(sentences)] if sentences else []), Paragraph(_model(settings, study))]


def _planned(study: Study) -> list[Block]:
    """Returns what the report says about the plan of a comparison; a single run has no plan."""
    if not study.plan:
        return []
    missing = []
    if study.written_plan is not None:
        kinds: dict[str, list[Any]] = {
            "attention": [r.attention for r in study.runs],
            "seeds": study.seeds,
            "tasks": study.tasks,
        }
        for key, there in kinds.items():
            noun = "seed " if key == "seeds" else ""
            missing += [f"{noun}{each}" for each in study.written_plan.in_force(key) if each not in there]
    return plan_text.blocks(study.written_plan, missing)


def _model(settings: dict[str, Any], study: Study) -> str:
    """Returns one sentence about the model and its training, from the records."""
    data = _data(study)
    layers, width = settings.get("model.num_hidden_layers"), settings.get("model.hidden_size")
    said = [
        f"{layers} layers of width {width}" if layers and width else "",
        f"{heads} heads" if (heads := settings.get("model.num_attention_heads")) else "",
        f"{positions} positions" if (positions := settings.get("model.positions")) else "",
        f"a vocabulary of {size:,}" if (size := data.get("vocab_size")) else "",
        f"sequences of {length} tokens" if (length := settings.get("training.sequence_length")) else "",
        f"{batch} sequences a batch" if (batch := settings.get("training.batch_size")) else "",
        f"optimizer {optimizer}" if (optimizer := settings.get("training.optimizer")) else "",
        "learning rates as swept"
        if study.swept
        else f"learning rate {settings.get('training.learning_rate', 'not recorded')}",
        f"{schedule} schedule" if (schedule := settings.get("training.schedule")) else "",
    ]
    return f"Model and training: {', '.join(filter(None, said))}. Data: {data.get('path', 'not recorded')}."


def _answer(findings: Findings) -> list[Block]:
    """Returns the table of verdicts; nothing if nothing is compared."""
    study = findings.study
    if not study.challengers:
        return []
    table = plan_text.footnoted(verdict_table.verdicts(findings), study.written_plan)
    return [table, *([Paragraph(plan_text.other_baseline(study))] if study.planned_baseline else [])]


def _arms(study: Study) -> list[Block]:
    """Returns what the aliases stand for."""
    rows = [[name, definition] for name, definition in study.definitions.items()]
    return [Table(["Attention", "Definition"], rows, "lw")] if rows else []


def _words(findings: Findings) -> list[Block]:
    """Returns the verdicts in sentences, one paragraph per mechanism, with tasks and what would be missed."""
    study = findings.study
    if not study.challengers:
        return []
    points = [*loss_text.answers(findings), *loss_text.learned_sentences(study), *task_text.task_sentences(findings)]
    if any(c.informative for c in findings.of(LOSS)):
        points.append(loss_text.power_sentence(findings))
    return [Points(points)]


def _judged(findings: Findings) -> list[Block]:
    study = findings.study
    if not study.challengers:
        return []
    instrument = " ".join(filter(None, [held_out.scored_sentence(study), held_out.error_sentence(findings.crossed)]))
    said = [*loss_text.nothing_sentences(study), margin_sentence(findings), instrument, family_sentence(findings)]
    return [Paragraph(each) for each in said if each]


def _pictures(drawn: dict[str, Picture], name: str) -> list[Block]:
    return [drawn[name]] if name in drawn else []


def _targets(findings: Findings, drawn: dict[str, Picture]) -> list[Block]:
    if not findings.ratios:
        return []
    notes = [Paragraph(note) for note in schedule_notes(findings.study)]
    return [*notes, *_pictures(drawn, "targets"), target_tables.ratios(findings)]


def _finetuning(findings: Findings, drawn: dict[str, Picture]) -> list[Block]:
    study = findings.study
    if not study.tasks:
        return []
    plan = study.written_plan
    blocks: list[Block] = [plan_text.footnoted(task_tables.task_scores(study), plan), *_pictures(drawn, "finetuning")]
    differences = plan_text.footnoted(task_tables.task_differences(findings), plan)
    blocks += [differences] if differences.rows else []
    blocks += [Points(points)] if (points := task_text.two_tests(findings)) else []
    blocks += [Paragraph(said)] if (said := task_text.collapses(study)) else []
    blocks += [Paragraph(said)] if (said := task_text.chances(findings)) else []
    blocks += [task_tables.collapsed(findings)] if findings.without_collapsed else []
    found = suites(findings)
    blocks += [suite_table(findings, found)] if found else []
    return [*blocks, *([Paragraph(said)] if (said := suite_sentence(findings, found)) else [])]


def _attention(study: Study) -> list[Block]:
    """Returns the section with the page that `leanformer attention DIR` makes."""
    drawn = (study.directory / ATTENTION_PAGE).is_file()
    return [Link("Every head of a run of each mechanism, on one sentence", ATTENTION_PAGE)] if drawn else []


def _runs(findings: Findings) -> list[Block]:
    blocks: list[Block] = [plan_text.footnoted(tables.runs(findings.study), findings.study.written_plan)]
    if findings.ratios:
        blocks.append(target_tables.tokens_to_target(findings))
    if findings.study.tasks:
        blocks.append(task_tables.finetunings(findings.study))
    single = task_tables.example_tests(findings)
    return [*blocks, *([single] if single.rows else [])]


def _repeat(study: Study) -> list[Block]:
    command, versions = study.plan.get("command"), made_by(study, "versions")
    blocks: list[Block] = [Code(command)] if command else []
    said = []
    if isinstance(versions, dict):
        said.append(f"Made with {', '.join(f'{name} {value}' for name, value in versions.items() if value)}.")
    if hash_ := _data(study).get("hash"):
        said.append(f"The data's hash is {hash_}.")
    _, own = _settings(study)
    if own:
        said.append(f"Settings that differ between the runs: {listed(own)}; all others are shared, and listed below.")
    return [*blocks, Paragraph(" ".join(said))] if said else blocks


def _particulars(study: Study) -> list[Block]:
    shared, _ = _settings(study)
    blocks: list[Block] = [tables.settings(shared, "Setting"), tables.settings(flat(_data(study)), "Data")]
    for key in ("versions", "hardware", "plugin"):
        value = made_by(study, key)
        for number, one in enumerate(value if isinstance(value, list) else [value] if value else [], start=1):
            name = key.capitalize() + (f" {number}" if isinstance(value, list) else "")
            blocks.append(tables.settings(flat(one) if isinstance(one, dict) else {name: one}, name))
    return blocks


def _data(study: Study) -> dict[str, Any]:
    """Returns the description of the data, from the plan and from the runs' own records."""
    recorded = [run.record["data"] for run in study.runs if run.record.get("data")]
    return {**(recorded[0] if recorded else {}), **(study.plan.get("data") or {})}


def _settings(study: Study) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings that all runs share, with the plan's of fine-tuning, and the names of those that differ."""
    plan = flat(study.plan.get("settings") or {})
    each = [run.settings for run in study.runs if run.settings]
    keys = sorted({key for settings in each for key in settings})
    different = [key for key in keys if any(s.get(key) != each[0].get(key) for s in each)]
    shared = {key: each[0].get(key) for key in keys if key not in different}
    common = {**{k: v for k, v in plan.items() if k not in different}, **shared}
    return dict(sorted(common.items())), different

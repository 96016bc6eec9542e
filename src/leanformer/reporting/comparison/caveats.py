"""Caveats of the numbers for a sceptical reader, in sentences: only those that apply to this study."""

from leanformer.reporting.analysis import held_out
from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.analysis.pairing import unequal_makers
from leanformer.reporting.comparison.plan_text import other_baseline
from leanformer.reporting.numbers.quantities import listed, several
from leanformer.reporting.records.schedules import schedule_notes
from leanformer.reporting.records.study import Study


def caveats(findings: Findings) -> list[str]:
    study = findings.study
    out = [*study.warnings, *([other_baseline(study)] if study.planned_baseline else [])]
    for paired in findings.pairs.values():
        out += [*paired.refused, *paired.doubts]
    out += unequal_makers(study.runs)
    out += held_out.doubts(study, findings.crossed)
    out += _absent(study)
    out += _finetunings(study)
    out += _design(findings)
    return out


def _absent(study: Study) -> list[str]:
    """Returns sentences about runs that are not in the means, and which mechanisms that favours."""
    out = []
    for name in study.attention:
        runs = [run for run in study.runs if run.attention == name and not run.tuning]
        for status in ("missing", "unfinished", "failed", "diverged"):
            gone = [run for run in runs if run.status == status]
            if gone:
                flatter = ", which flatters it" if status in ("failed", "diverged") else ""
                be = "is" if len(gone) == 1 else "are"
                each = listed([_which(study, run.seed, run.learning_rate) for run in gone])
                out.append(f"{several(len(gone), f'{status} run')} of {name} ({each}) {be} in no mean{flatter}.")
        untried = [r for r in study.runs if r.attention == name and r.tuning and r.status != "finished"]
        if untried:
            each = listed([f"{_which(study, run.seed, run.learning_rate)}: {run.status}" for run in untried])
            out.append(f"The learning rate of {name} is chosen without {several(len(untried), 'tuning run')} ({each}).")
    return out


def _which(study: Study, seed: int, rate: float | None) -> str:
    return f"seed {seed}, learning rate {rate:g}" if study.swept and rate is not None else f"seed {seed}"


def _finetunings(study: Study) -> list[str]:
    noun = study.wording.task
    tunings = [tuning for run in study.runs for tuning in run.finetunings]
    notes = [note for tuning in tunings for note in (tuning.record.get("data") or {}).get("notes") or ()]
    out = [f"{note}." for note in dict.fromkeys(notes)]
    for task in study.tasks:
        for name in study.attention:
            runs = [t for run in study.at(name) for t in run.finetunings if t.task == task]
            collapsed = [t for t in runs if t.collapsed]
            if collapsed:
                out.append(
                    f"{several(len(collapsed), noun)} of {len(runs)} of {name} on {task} collapsed (one answer"
                    " for every example, or a correlation of 0). They are kept in the mean; a collapse is training "
                    "failing, not attention being weak, and a few of them can decide a mean."
                )
            undone = [t for t in runs if t.status != "finished"]
            if undone:
                states = listed(sorted({t.status for t in undone}))
                out.append(f"{several(len(undone), noun)} of {name} on {task} in no mean: {states}.")
            planned = len(study.at(name)) * int(study.plan.get("task_seeds") or 0)
            if len(runs) < planned:
                out.append(f"{several(planned - len(runs), f'planned {noun}')} of {name} on {task} not done.")
    return out


def _design(findings: Findings) -> list[str]:
    study, out = findings.study, []
    settings = next((run.settings for run in study.runs if run.settings), {})
    if settings.get("training.max_seconds"):
        out.append("Budgets in seconds are neither paired nor repeatable: runs read different amounts of text.")
    if study.challengers and len(study.seeds) == 1:
        out.append("One seed shows nothing of what chance does: no interval and no p-value can be given.")
    tuned = study.tasks and study.wording.task == "fine-tuning"
    if tuned and len(study.seeds) == 1:
        out.append(
            "Fine-tuning seeds on one pre-trained model measure fine-tuning; they are not repetitions of pre-training."
        )
    if findings.ratios:
        out += [note for note in schedule_notes(study) if "constant after" not in note]
    if study.challengers and not findings.ratios and study.curve_floor is not None and study.at(study.baseline or ""):
        out.append("What a target costs is not given: the baseline does not end below the no-context baseline.")
    if study.swept and not study.tuned:
        out.append(
            "Each mechanism's best learning rate was chosen by the very losses that are compared, so every mean is a "
            "little too good, and equally so for equal sweeps."
        )
    if study.challengers:
        out.append(
            "Mechanisms differ in parameters and FLOPs as well as in attention; budgets are equal in tokens, not in "
            f"size or time. Whether a {study.baseline} made as small by other means would do as well is not asked here."
        )
        out.append("Intervals are not corrected for the number of tests; p-values and verdicts are (Holm).")
    out.append("Tokens per second depend on what else the machine was doing; FLOPs are exact counts.")
    return out

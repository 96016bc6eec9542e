"""Tables of losses: on the test part, and on further held-out texts."""

import math

from leanformer.reporting.analysis.comparison import Findings, on_text
from leanformer.reporting.analysis.score_points import score_points
from leanformer.reporting.comparison.tables import DAGGER, fixed_nats, judged, mean_sd, without
from leanformer.reporting.numbers.quantities import NONE, fixed, percent
from leanformer.reporting.numbers.statistics import Spread, spread
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.document import Table


def all_losses(findings: Findings) -> list[Table]:
    """Returns the table of the test part, and that of further held-out texts, if there are any."""
    others = other_texts(findings)
    return [losses(findings), *([others] if others else [])]


def losses(findings: Findings) -> Table:
    study, rows = findings.study, []
    for name in study.attention:
        below, chosen = study.below_floor(name), study.chosen(name)
        row = [
            name,
            f"{len(chosen.finished)} of {len(chosen.runs)}",
            mean_sd(study.spread(name, "final_loss"), fixed),
            mean_sd(study.spread(name, "selection_loss"), fixed),
            _perplexity(study.spread(name, "final_loss")),
            (NONE if below is None else percent(below)) + (DAGGER if study.without_context(name) else ""),
        ]
        rows.append(row)
    header = ["Attention", "Runs", "Final loss", "Validation loss", "Perplexity", "Below no context"]
    caption = (
        f"Loss {study.wording.validation} in nats, mean ± sd over seeds; validation is what choices are made by. "
        f"{_said(study)}Below no context: 1 - final loss / no-context baseline. "
    )
    if any(study.without_context(name) for name in study.attention):
        caption += (
            f"{DAGGER} Runs of it did not get below that baseline: they learned nothing from context, so their losses "
            "say nothing about attention."
        )
    table = Table(header, rows, "lrrrrr", caption.strip())
    return table if study.wording.perplexity else without(table, (4,))


def other_texts(findings: Findings) -> Table | None:
    """Returns the losses on further held-out texts; None where there are none."""
    study, by_name = findings.study, {(c.attention, c.metric): c for c in findings.other_texts}
    rows = []
    for part in study.other_parts:
        for name in study.attention:
            losses = spread([loss for run in study.at(name) if (loss := run.loss_on(part)) is not None])
            c = by_name.get((name, on_text(part)))
            row = [part, name, mean_sd(losses, fixed)]
            rows.append(row + (judged(c, fixed_nats) if c else ["baseline", "", "", ""]))
    header = ["Text", "Attention", "Loss", "Difference [95 % CI]", "Holm p", "of equivalence", "Verdict"]
    caption = (
        "The same models on further texts, in nats, mean ± sd over seeds. Holm's correction is over all of this table; "
        "a model that is good here as well has not only learned its own source."
    )
    return Table(header, rows, "llrrrrl", caption) if rows else None


def at_tokens(findings: Findings) -> Table | None:
    """Returns the losses at the score points during training; None where there are none."""
    study, rows = findings.study, []
    for point in score_points(findings):
        by_name = {c.attention: c for c in point.comparisons}
        for name, losses in point.losses.items():
            row = [f"{point.score_at:,}", point.part, name, str(losses.n), mean_sd(losses, fixed)]
            rows.append(row + (judged(by_name[name], fixed_nats) if name in by_name else ["baseline", "", "", ""]))
    header = ["Tokens", "Text", "Attention", "Runs", "Loss", "Difference [95 % CI]", "Holm p", "of equivalence"]
    caption = (
        "Each run at the first step that had read so many tokens, in nats, mean ± sd over seeds; differences as in the "
        "table of verdicts. Holm's correction is over the mechanisms at one number of tokens on one text."
    )
    schedules = {run.settings.get("training.schedule") for run in study.runs if run.points}
    if schedules - {"constant"}:
        caption += (
            " Before the end the learning rate has not fallen yet: a run of so many tokens in all would do better."
        )
    table = Table([*header, "Verdict"], rows, "rllrrrrrl", caption)
    if not rows:
        return None
    return table if study.baseline else without(table, (5, 6, 7, 8))


def _perplexity(of: Spread) -> str:
    return NONE if of.mean is None else fixed(math.exp(of.mean), 2)


def _said(study: Study) -> str:
    return "Perplexity: exp of the mean final loss. " if study.wording.perplexity else ""

"""The comparison of every mechanism with the baseline at the score points during training.

At each number of tokens and on each held-out text the differences are analysed as final losses are: paired by seed,
with intervals over seeds and text (`numbers.crossed`), and one family each for main and exploratory contrasts.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from leanformer.reporting.analysis.comparison import (
    LOSS,
    Comparison,
    Findings,
    Values,
    both,
    contrasts,
    measured,
    with_text,
)
from leanformer.reporting.analysis.held_out import Scores
from leanformer.reporting.numbers.statistics import Spread, spread
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import no_better


@dataclass(frozen=True)
class ScorePoint:
    """The runs of a study at `score_at` tokens, on one held-out part."""

    score_at: int
    part: str
    losses: dict[str, Spread]
    """The losses over the seeds in nats, by mechanism."""
    comparisons: tuple[Comparison, ...]


def score_points(findings: Findings) -> list[ScorePoint]:
    """Returns one entry per number of tokens and text, the text of the final loss first; none without such scores."""
    study = findings.study
    runs = [run for name in study.attention for run in study.at(name)]
    first = next((run.part for run in runs if run.part is not None), None)
    parts = [part for part in (first, *study.other_parts) if part is not None]
    scores = Scores(study)
    out = []
    for number in sorted({number for run in runs for number in run.points}):
        for part in parts:
            where: dict[str, Any] = {"part": part, "number": number}
            losses = {name: [_loss(run, **where) for run in study.at(name)] for name in study.attention}
            metric = f"{LOSS} on {part} at {number} tokens"
            found = [
                with_text(c, scores.crossed(findings.pairs[c.attention].pairs, part, number))
                for c in measured(study, findings.pairs, metric, partial(_losses, **where), partial(_nothing, **where))
            ]
            spreads = {name: spread([loss for loss in of if loss is not None]) for name, of in losses.items()}
            out.append(ScorePoint(number, part, spreads, tuple(contrasts(study, found))))
    return out


def _losses(run: Run, other: Run, part: str, number: int) -> Values:
    return both(_loss(run, part, number), _loss(other, part, number))


def _loss(run: Run, part: str, number: int) -> float | None:
    return run.points.get(number, {}).get("scores", {}).get(part, {}).get("loss")


def _nothing(run: Run, part: str, number: int) -> bool:
    """Whether the run had learned nothing from context by `number` tokens."""
    score = run.points.get(number, {}).get("scores", {}).get(part, {})
    return no_better(score.get("loss"), score.get("context_free"))

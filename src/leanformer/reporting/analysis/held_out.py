"""The held-out text on which the final losses of a study are measured, and its contribution to their error."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from leanformer.records.scores import Losses, read_losses
from leanformer.reporting.numbers.crossed import Crossed, crossed
from leanformer.reporting.numbers.quantities import fixed, listed, several
from leanformer.reporting.records.record_files import REMEDY
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study

ENOUGH = 0.003
"""The error, in nats, that the text may add to a difference before the report recommends more text."""


class Scores:
    """The losses of a study's runs, sequence by sequence; each file is read once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._read = cache(self._of)

    def crossed(
        self, pairs: Iterable[tuple[Run, Run]], part: str | None = None, at: int | None = None
    ) -> Crossed | None:
        """Returns the analysis of pairs that were scored on the same text, None where the records do not hold it.

        It compares the final losses, or those on `part`, after training or at `at` tokens.
        """
        both = [[self._read(run.path, part or run.part, at) for run in pair] for pair in pairs]
        ours = [pair[0] for pair in both if pair[0] is not None]
        theirs = [pair[1] for pair in both if pair[1] is not None]
        return crossed(ours, theirs) if len(ours) == len(theirs) == len(both) else None

    def _of(self, path: str, part: str | None, at: int | None) -> Losses | None:
        run = next(run for run in self.study.runs if run.path == path)
        point: dict[str, Any] = {"folder": "scores", "scores": run.scores} if at is None else run.points.get(at, {})
        if part is None or part not in point.get("scores", {}):
            return None
        file = self.study.directory / path / point["folder"] / f"{part}.npz"
        return read_losses(file, point["scores"][part]["sha256"], REMEDY) if file.is_file() else None


def scored_sentence(study: Study) -> str:
    """Returns the sentence about the text of the final losses; it is empty if no run has finished."""
    run = next((run for name in study.attention for run in study.at(name)), None)
    if run is None:
        return ""
    if run.part is None:
        return (
            "Final losses are those of the last validation of training, on the text by which choices are made; these "
            "runs were not scored on a held-out part afterwards."
        )
    score = run.scores[run.part]
    which = "test part" if run.part == "test" else "validation part (the data have no test part)"
    extent = "all" if score["whole"] else "evenly spread sequences"
    draws = f" with {several(score['draws'], 'draw')} of masks each" if score["draws"] > 1 else ""
    return (
        f"Final losses are of the {which} of the data: {score['targets']:,} predictions in {score['sequences']:,} "
        f"sequences, {extent} of it{draws}, the same for every run."
    )


def error_sentence(found: dict[str, Crossed]) -> str:
    """Returns the sentences about the parts of the standard errors; they are empty without crossed differences."""
    if not found:
        return ""
    each = [
        f"{name} {fixed(one.standard_error, 4)} (seeds {fixed(one.seeds_error, 4)}, text {fixed(one.items_error, 4)})"
        for name, one in found.items()
    ]
    first = next(iter(found.values()))
    single = "" if first.item == "document" else "; sequences count as independent, since there are few documents"
    return (
        f"Intervals hold for other seeds and for other text: seeds are crossed with {several(first.items, first.item)}"
        f"{single}. Standard errors in nats: {listed(each)}."
    )


def doubts(study: Study, found: dict[str, Crossed]) -> list[str]:
    """Returns the sentences about the effect of the held-out text on the verdicts."""
    coarse = [f"{name} ({fixed(one.items_error, 4)})" for name, one in found.items() if one.items_error > ENOUGH]
    out = []
    if coarse:
        out.append(
            f"The held-out text adds more than {ENOUGH:g} nats to the error of {listed(coarse)}: hold out more of it "
            "(prepare --test-fraction)."
        )
    if study.challengers and not found and any(len(study.at(name)) > 1 for name in study.challengers):
        out.append(
            "Intervals are over seeds alone: the losses of single sequences are not in the records, so how the result "
            "would change with other text is not known."
        )
    return out

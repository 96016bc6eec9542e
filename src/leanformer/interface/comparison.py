"""A comparison on disk: its runs, its curves and its verdicts."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanformer.records import run as records
from leanformer.reporting.analysis.comparison import Findings, find
from leanformer.reporting.comparison.results import results
from leanformer.reporting.comparison.verdict_table import verdicts
from leanformer.reporting.figures import figures
from leanformer.reporting.records.record_files import read_lines
from leanformer.reporting.records.study import read_study
from leanformer.reporting.render.fragment import fragment
from leanformer.reporting.render.style import Picture
from leanformer.spelling import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

VERDICT = (
    "attention",
    "metric",
    "verdict",
    "mean_difference",
    "ci95_low",
    "ci95_high",
    "n",
    "p_value",
    "p_value_holm",
    "p_equivalence_holm",
    "margin",
    "exploratory",
    "note",
)
"""The columns of `verdicts`."""


class Comparison:
    """The comparison in the directory `path`, finished or not, as its records are when this object is made.

    `results` is the content of results.json. Losses are in nats, scores are fractions, and unknown values are missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "comparison.json").is_file():
            raise FileNotFoundError(f"{self.path} holds no comparison (it has no comparison.json): check the path")
        self._findings: Findings = find(read_study(self.path))

    @cached_property
    def results(self) -> dict[str, Any]:
        return results(self._findings)

    @property
    def runs(self) -> "DataFrame":
        """One row per run: attention, seed, status, parameters, tokens, final_loss, path, ..."""
        from pandas import DataFrame

        return DataFrame([{key: value for key, value in run.items() if key != "tasks"} for run in self.results["runs"]])

    @property
    def verdicts(self) -> "DataFrame":
        """One row per mechanism and metric: the paired difference to the baseline, its interval, and the verdict."""
        from pandas import DataFrame

        rows = []
        for found in self.results["comparisons"]:
            low, high = found["ci95"] or (None, None)
            rows.append(found | {"ci95_low": low, "ci95_high": high})
        return DataFrame(rows, columns=list(VERDICT))

    @property
    def curves(self) -> "DataFrame":
        """One row per logged step of every run: attention, seed, and the columns of `Run.curve`."""
        from pandas import DataFrame

        rows = []
        for run in self._findings.study.runs:
            own = {"attention": run.attention, "seed": run.seed, "learning_rate": run.learning_rate}
            file = self.path / run.path / "curve.jsonl"
            rows += [own | line for line in read_lines(file, records.CurveLine)] if file.is_file() else []
        return DataFrame(rows)

    def plot(self, picture: str = "curves") -> "Figure":
        """Returns a picture of the report: curves, differences, parameters, pareto, targets, finetuning or sweep."""
        if picture not in self._pictures:
            remedy = suggest(picture, self._pictures) if self._pictures else "no run has a result yet"
            raise ValueError(f"{self.path} has no picture {picture!r}: {remedy}")
        return self._pictures[picture].figure()

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        return figures(self._findings)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Comparison({str(self.path)!r}): {self.results['headline']}"

    def _repr_html_(self) -> str:
        """Returns the answer, the table of verdicts and the curves, for a notebook."""
        return fragment(self.results["headline"], verdicts(self._findings), self._pictures.get("curves"))

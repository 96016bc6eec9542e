"""A run on disk: its record, its curve and its model."""

from typing import TYPE_CHECKING, Any

from leanformer.interface.model import Model
from leanformer.records import run as records
from leanformer.records.reading import Record
from leanformer.records.run import CURVE, RECORD, SUMMARY
from leanformer.reporting.records.record_files import read_lines, read_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Run(Model):
    """The run in the directory `path`: of pre-training, distillation or fine-tuning.

    Fine-tuning with several seeds makes one run per seed, in folders seed-1, seed-2, ... of `path`.
    """

    @property
    def record(self) -> dict[str, Any]:
        """run.json as it is now: settings, versions, hardware, status and results; of several seeds summary.json."""
        if (self.path / RECORD).is_file():
            return read_record(self.path / RECORD)
        if (self.path / SUMMARY).is_file():
            return read_record(self.path / SUMMARY, Record)
        raise FileNotFoundError(f"{self.path} holds no run (it has no {RECORD}): check the path")

    @property
    def curve(self) -> "DataFrame":
        """One row per logged step: step, tokens, seconds, loss (nats), and validation_loss where it was measured."""
        from pandas import DataFrame

        self.record  # noqa: B018  (what is no run is refused)
        file = self.path / CURVE
        return DataFrame(list(read_lines(file, records.CurveLine)) if file.is_file() else [])

    def plot(self) -> "Figure":
        """Returns the picture of the validation loss over tokens, as the report of a pre-training run draws it."""
        from leanformer.reporting.analysis.comparison import find  # imports matplotlib and SciPy, which runs need not
        from leanformer.reporting.figures import figures
        from leanformer.reporting.records.study import read_study

        drawn = figures(find(read_study(self.path)))
        if "curves" not in drawn:
            raise ValueError(f"{self.path} has fewer than two validations to draw: set training.validate_every lower")
        return drawn["curves"].figure()

    def __repr__(self) -> str:
        record = self.record
        results = record.get("results") or {}
        loss = results.get("final_loss")
        score = results.get("score", record.get("score"))
        said = [str(record.get("attention") or ""), str(record.get("task") or ""), str(record.get("status") or "")]
        said += [f"loss {loss:.4g} nats"] if loss is not None else []
        said += [f"score {score:.4g}"] if score is not None else []
        return f"Run({str(self.path)!r}): {', '.join(filter(None, said))}"

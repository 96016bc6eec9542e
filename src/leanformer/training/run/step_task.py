"""Work after certain steps that changes no weight: scores (`score_points`) and kept models (`kept_models`)."""

from typing import Any, Protocol


class StepTask(Protocol):
    def due(self, step: int) -> Any:
        """Returns something true if there is work after `step` updates, the same on every process."""

    def after(self, step: int) -> None:
        """Do the work of `step`; every process calls it. The model may be left in evaluation mode."""

    def rewind(self, step: int) -> None:
        """Undo what belongs to later steps than `step`, from which a run continues."""

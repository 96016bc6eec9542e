"""A teacher, as far as the training of a model knows one; `leanformer.distillation` has one."""

from typing import Any, Protocol

from leanformer.data.corpus import Prepared
from leanformer.models.config import LeanformerConfig
from leanformer.settings import Settings
from leanformer.training.objectives.protocol import PretrainingObjective


class Teaching(Protocol):
    @property
    def command(self) -> list[str]:
        """The verb and the arguments by which a run is continued, but for its data and its directory."""

    def objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[PretrainingObjective, dict[str, Any]]:
        """What is learned, and what run.json says of the `teacher`: its path, its sha256, what it costs.

        ValueError if the teacher, the student, the data and the settings do not fit each other.
        """

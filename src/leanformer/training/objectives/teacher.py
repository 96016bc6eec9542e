"""The protocol of a teacher, as the training of a model uses one; `leanformer.distillation` implements it."""

from typing import Any, Protocol

from leanformer.data.corpus import Prepared
from leanformer.models.config import LeanformerConfig
from leanformer.settings import Settings
from leanformer.training.objectives.protocol import PretrainingObjective


class TeacherProtocol(Protocol):
    @property
    def command(self) -> list[str]:
        """The verb and the arguments by which a run is continued, but for its data and its directory."""

    def build_objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[PretrainingObjective, dict[str, Any]]:
        """Returns what is learned, and what run.json records of the `teacher`: its path, its sha256, what it costs.

        ValueError if the teacher, the student, the data and the settings do not fit each other.
        """

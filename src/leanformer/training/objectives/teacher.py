"""The protocol of a teacher in pre-training; `leanformer.distillation` implements it."""

from typing import Any, Protocol

from leanformer.data.corpus import Prepared
from leanformer.models.config import LeanformerConfig
from leanformer.settings import Settings
from leanformer.training.objectives.protocol import PretrainingObjective


class TeacherProtocol(Protocol):
    @property
    def command(self) -> list[str]:
        """The command that continues a run, without its data and its directory."""

    def build_objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[PretrainingObjective, dict[str, Any]]:
        """Returns the objective, and what run.json records about the `teacher`: its path, its sha256 and its cost.

        Raises ValueError if the teacher, the student, the data and the settings do not fit each other.
        """

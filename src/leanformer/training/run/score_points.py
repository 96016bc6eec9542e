"""Scores during training: `training.score_at` lists numbers of tokens N_1 < N_2 < ... at which the run is scored.

    step of N_i = the first step t with tokens(t) >= N_i

After that step the run is scored as a finished run is (`scores`). Scoring draws no random number that training uses and
changes no weight, so the curve is the same with and without it.

    RUN/scores/step-00000123/PART.npz    the losses after that step, as `scores` writes them
    run.json                             scores_at: a list with score_at (N_i), step, tokens, folder (of the files) and
                                         scores (like results.scores), one entry per number that was reached

A number that only the last step reaches gets the scores of the finished run, whose files are in RUN/scores. A resumed
run keeps the entries up to its checkpoint, whose step is scored before the checkpoint is written, and computes the
later ones again.
"""

from collections.abc import Callable
from typing import Any

from leanformer import files
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.protocol import Objective
from leanformer.training.run.record import RunDirectory


class ScorePoints:
    """The score points of one run.

    `score` takes the folder for the files, relative to the run directory, and returns the scores of the current model;
    only the `main` process, which writes the record, uses what it returns.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        objective: Objective,
        run: RunDirectory,
        score: Callable[[str], dict[str, Any]],
        *,
        main: bool,
    ) -> None:
        self.asked = settings.score_at or []
        self.objective, self.run, self.score, self.main = objective, run, score, main

    def due(self, step: int) -> list[int]:
        """Returns the numbers of tokens that are first reached at `step`, the number of updates done."""
        before, now = self.objective.tokens(step - 1), self.objective.tokens(step)
        return [number for number in self.asked if before < number <= now]

    def rewind(self, step: int) -> None:
        """Remove the scores after `step`, from which a resumed run continues."""
        if not self.main:
            return
        entries = self.run.read().get("scores_at") or []
        kept = [entry for entry in entries if entry["step"] <= step]
        if kept != entries:
            self.run.update(scores_at=kept)
        for folder in self.run.scores.glob("step-*"):
            if folder.relative_to(self.run.path).as_posix() not in [entry["folder"] for entry in kept]:
                files.remove_directory(folder)

    def after(self, step: int) -> None:
        """Score the model after `step` updates, which first reached a number (`due`); it stays in evaluation mode."""
        folder = f"{self.run.scores.name}/step-{step:08d}"
        self.record(step, folder, self.score(folder))

    def finish(self, step: int, scores: dict[str, Any]) -> None:
        """Record the numbers that only the last step has reached, with the scores of the finished run."""
        self.record(step, self.run.scores.name, scores)

    def missed(self, step: int) -> str | None:
        """Returns a note on the numbers that a run of `step` updates did not reach, as a budget in seconds allows."""
        reached = self.objective.tokens(step)
        if beyond := [f"{number:,}" for number in self.asked if number > reached]:
            return f"training.score_at: the run ended after {reached:,} tokens, not scored at {', '.join(beyond)}"
        return None

    def record(self, step: int, folder: str, scores: dict[str, Any]) -> None:
        """Add an entry to run.json for every number that is due at `step`."""
        if self.main and (numbers := self.due(step)):
            where = {"step": step, "tokens": self.objective.tokens(step), "folder": folder, "scores": scores}
            entries = self.run.read().get("scores_at") or []
            self.run.update(scores_at=[*entries, *({"score_at": number, **where} for number in numbers)])


def check_reached(settings: TrainingSettings, objective: Objective) -> None:
    """Raises ValueError if a number of `training.score_at` lies beyond a budget in tokens or steps."""
    steps, asked = objective.total_steps, settings.score_at or []
    if steps is not None and asked and asked[-1] > (end := objective.tokens(steps)):
        raise ValueError(f"training.score_at = {asked}: the run ends after {end:,} tokens; leave out larger numbers")

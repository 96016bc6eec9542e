"""The `results` of run.json: what a finished run has done, how fast, and its validation losses."""

from pathlib import Path
from typing import Any

from leanformer.training.machine.energy import outcome
from leanformer.training.run.checkpoint import Progress
from leanformer.training.run.curve import read_curve


def results(at: Progress, tokens: int, curve: Path) -> dict[str, Any]:
    """Returns the results of a run that ended at `at` after `tokens` tokens, with the lines of its curve."""
    validations = [[line["tokens"], line["validation_loss"]] for line in read_curve(curve) if "validation_loss" in line]
    return {
        "steps": at.step,
        "tokens": tokens,
        "seconds": at.seconds,
        "tokens_per_second": tokens / max(1e-9, at.seconds - at.idle_seconds),
        "final_loss": validations[-1][1] if validations else None,
        "best_loss": min((loss for _, loss in validations), default=None),
        "validations": validations,
        **outcome(at.joules, at.energy_source),
    }

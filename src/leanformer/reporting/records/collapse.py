"""Whether a fine-tuning collapsed: its answer is always the same, or its Matthews correlation is 0."""

from pathlib import Path
from typing import Any

from leanformer.reporting.records.record_files import read_lines

ROUNDING = 1e-6


def collapsed(results: dict[str, Any], predictions: Path) -> bool:
    """Whether it collapsed, by the record's `collapsed` or its metrics, else by the answers of each split."""
    metrics = results.get("metrics") or {}
    if results.get("collapsed") or any(v == 0 for k, v in metrics.items() if k.startswith(("matthews", "mcc"))):
        return True
    if "collapsed" in results or not predictions.is_file():
        return False
    given: dict[Any, list[Any]] = {}
    for line in read_lines(predictions):
        given.setdefault(line.get("split"), []).append(line.get("prediction"))
    return any(len(answers) > 1 and _constant(answers) for answers in given.values())


def _constant(answers: list[Any]) -> bool:
    """Whether all answers are the same. Numbers may differ by float32 rounding, since a regression's do."""
    if all(isinstance(answer, float) for answer in answers):
        return max(answers) - min(answers) <= ROUNDING * max(map(abs, answers))
    return all(answer == answers[0] for answer in answers)

"""Whether a mechanism is better on a task than the best answer that ignores the input.

    chance c        `results.chance` of a fine-tuning; for an old record without it, the score of the best constant
                    answer to the labels in predictions.jsonl (unknown for texts and for metrics of groups)
    bound b         one-sided 95 % lower bound of the score m, a fraction:
                    n >= 2 pre-training seeds     m - t_{0.95, n-1} s / sqrt(n)
                    n = 1, accuracy of E answers  Clopper and Pearson's (1934) exact bound of m E right answers
    above chance    b > c

Seeds come first because a comparison is about mechanisms, which seeds sample. The fine-tunings of one pre-trained model
are not independent, so each pre-trained model counts once, with the mean of its fine-tunings. A single model has no
spread over seeds, so its right answers among E examples are counted, a binomial. Its fine-tunings answered the same E
examples, so their mean accuracy counts as one. Otherwise the bound is unknown, and nothing is reported.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leanformer.reporting.numbers.scores import METRICS
from leanformer.reporting.numbers.statistics import ALPHA
from leanformer.reporting.records.record_files import read_lines
from leanformer.reporting.records.runs import FineTuning
from leanformer.reporting.records.study import Study

NO_BETTER = "no better than chance"


def chance(study: Study, task: str) -> float | None:
    """Returns the task's chance as a fraction, or None where the records do not hold it."""
    finished = [tuning for tuning in study.finetunings(task) if tuning.score is not None]
    recorded = [c for tuning in finished if (c := (tuning.record.get("results") or {}).get("chance")) is not None]
    if recorded:
        return max(recorded)
    return next((c for tuning in finished[:1] if (c := _of_labels(study, tuning)) is not None), None)


def above_chance(study: Study, task: str, attention: str) -> bool | None:
    """Whether the lower bound of the mechanism's score is above chance; None where either is not known."""
    level, bound = chance(study, task), lower_bound(study, task, attention)
    if level is None or bound is None:
        return None
    return bound > level and not math.isclose(bound, level)  # models that all answer with the majority class


def lower_bound(study: Study, task: str, attention: str) -> float | None:
    """Returns the one-sided 95 % lower bound of the score, a fraction."""
    tunings = [[t for t in run.finetunings if t.task == task and t.score is not None] for run in study.at(attention)]
    models = [tasks for tasks in tunings if tasks]
    means = [float(np.mean([t.score for t in tasks])) for tasks in models]
    if len(means) > 1:
        error = float(np.std(means, ddof=1)) / math.sqrt(len(means))
        return float(np.mean(means)) - float(stats.t.isf(ALPHA, len(means) - 1)) * error
    if not means or not all(name.startswith("accuracy") for name in _metrics(models[0][0])):
        return None
    examples = (models[0][0].record.get("results") or {}).get("examples")
    if not examples:
        return None
    right = stats.binomtest(round(means[0] * examples), examples, alternative="greater")
    return float(right.proportion_ci(1 - ALPHA, method="exact").low)


def at_chance(study: Study, task: str, attention: str) -> str:
    """Returns why the mechanism cannot be compared with the baseline (neither is above chance), or '' if it can.

    An average over tasks is not testable if none of its tasks is.
    """
    if task not in study.tasks:
        found = [at_chance(study, each, attention) for each in study.tasks]
        return f"on every task {NO_BETTER}" if found and all(found) else ""
    pair = (attention, study.baseline or attention)
    if any(above_chance(study, task, name) is not False for name in pair):
        return ""
    return f"neither {pair[0]} nor {pair[1]} is above chance ({100 * (chance(study, task) or 0.0):.1f})"


def _metrics(tuning: FineTuning) -> list[str]:
    return list((tuning.record.get("results") or {}).get("metrics") or {}) or ["unknown"]


def _of_labels(study: Study, tuning: FineTuning) -> float | None:
    """Returns the mean over splits and metrics of the best constant answer."""
    path = study.directory / tuning.path / "predictions.jsonl"
    names = list(dict.fromkeys(_known(name) for name in _metrics(tuning)))
    if not path.is_file() or None in names:
        return None
    splits: dict[str, list[float]] = {}
    for line in read_lines(path):
        if not isinstance(line.get("label"), int | float):
            return None
        splits.setdefault(str(line.get("split")), []).append(line["label"])
    labels = [np.array(split) for split in splits.values()]
    if any(name in ("pearson", "spearman") for name in names):
        return 0.0
    return max((float(np.mean([*_scores(labels, names, c)])) for c in np.unique(np.concatenate(labels))), default=None)


def _scores(labels: list[NDArray], names: list[str | None], answer: float) -> Iterator[float]:
    for of in labels:
        for name in names:
            yield float(METRICS[str(name)](of, np.full_like(of, answer)))


def _known(name: str) -> str | None:
    """Returns the longest metric's name that fits: accuracy for accuracy_matched."""
    return next((known for known in METRICS if name == known or name.startswith(f"{known}_")), None)

"""Paired tests over examples: would the difference between these trained models hold on other examples of the task?

The test over seeds answers another question: would it hold with other seeds, on these examples? A mechanism is better
if both tests say so; the verdicts of a report are those of the seeds.

Both models of a pair answer the same E examples. For one pair and a task with right and wrong answers, the test is
McNemar's: if b and c examples are answered right by one model only, b ~ Binomial(b + c, 1/2) if neither is better. For
more pairs, or another score, it is the generalisation, the randomisation test (Noreen, 1989): the answers of both
models to an example are exchanged or not, for all pairs together, and p is the fraction of exchanges with a mean
difference of scores at least as large. The interval is the paired bootstrap's: examples are drawn with replacement, the
same for both models.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leanformer.reporting.analysis.pairing import Pairs, paired_finetunings
from leanformer.reporting.numbers.scores import MEANS, METRICS
from leanformer.reporting.numbers.statistics import Interval, holm
from leanformer.reporting.records.record_files import read_lines
from leanformer.reporting.records.runs import FineTuning
from leanformer.reporting.records.study import Study

RESAMPLES, FEWEST, WORK = 9999, 999, 4_000_000
"""The number of resamples, and their smallest number where they would hold more answers than WORK."""


class McNemar(NamedTuple):
    """The numbers of examples that only the mechanism, and only the baseline, answers right, for one pair."""

    seed: int
    task_seed: int
    only: int
    only_baseline: int
    p_value: float


@dataclass(frozen=True)
class ExampleTest:
    attention: str
    task: str
    finetunings: int = 0
    """The number of pairs of fine-tunings."""
    examples: int = 0
    difference: float | None = None
    """The difference of the mean scores, mechanism minus baseline."""
    ci95: Interval | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    """The p-value with Holm's correction over all mechanisms and tasks."""
    method: str = ""
    each: tuple[McNemar, ...] = ()
    note: str = ""


class Answers(NamedTuple):
    keys: list[str]
    """Split, place and label of every example, which are equal if two models have answered the same examples."""
    labels: NDArray
    predictions: NDArray
    values: NDArray | None
    """(E,) scores of single examples, where the task's score is their mean."""


def example_tests(study: Study, paired: dict[str, Pairs]) -> tuple[ExampleTest, ...]:
    read: dict[str, Answers | None] = {}

    def answers(tuning: FineTuning) -> Answers | None:
        if tuning.path not in read:
            read[tuning.path] = _read(study, tuning)
        return read[tuning.path]

    tests = [_test(name, task, pairs, answers) for task in study.tasks for name, pairs in paired.items()]
    corrected = holm([test.p_value for test in tests])
    return tuple(replace(test, p_value_holm=p) for test, p in zip(tests, corrected, strict=True))


def _test(attention: str, task: str, of: Pairs, answers: Callable[[FineTuning], Answers | None]) -> ExampleTest:
    ours, theirs, pairs = [], [], []
    for run, other in of.pairs:
        for tuning, their_tuning in paired_finetunings(run, other, task):
            both = answers(tuning), answers(their_tuning)
            if both[0] is None or both[1] is None:
                return ExampleTest(attention, task, note="the answers to single examples are not in the records")
            ours.append(both[0])
            theirs.append(both[1])
            pairs.append((run.seed, tuning.seed))
    if not pairs:
        return ExampleTest(attention, task, note="no pair of finished runs")
    if any(one.keys != ours[0].keys for one in (*ours, *theirs)):
        return ExampleTest(attention, task, note="the models did not answer the same examples")
    names = _metrics(tuning)
    found = ExampleTest(attention, task, len(pairs), len(ours[0].keys))
    if all(one.values is not None for one in (*ours, *theirs)):
        values = [np.stack([one.values for one in side if one.values is not None]) for side in (ours, theirs)]
        binary = all(np.isin(each, (0.0, 1.0)).all() for each in values)
        right = zip(pairs, *values, strict=True) if binary else ()
        each = tuple(mcnemar(*seeds, *both) for seeds, *both in right)
        # The score is a mean over examples, so the pairs' mean can be taken first.
        table = np.concatenate([v.mean(0) for v in values])
        return _resampled(replace(found, each=each), lambda ids: table[ids].mean(-1), found.examples)
    predictions = np.stack([np.concatenate([a.predictions, b.predictions]) for a, b in zip(ours, theirs, strict=True)])
    labels = np.tile(ours[0].labels, 2)

    def score(ids: NDArray) -> NDArray:
        return np.mean([METRICS[n](labels[ids], row[ids]) for n in names for row in predictions], axis=0)

    return _resampled(found, score, found.examples * len(pairs))


def _resampled(test: ExampleTest, score: Callable[[NDArray], NDArray], size: int) -> ExampleTest:
    """Returns the test with its p-value and interval from resamples.

    `score` takes places (..., E): 0 to E - 1 are the mechanism's answers, E to 2 E - 1 the baseline's. `size` is the
    number of answers in one resample.
    """
    ids = np.arange(test.examples)
    times = int(np.clip(WORK / size, FEWEST, RESAMPLES))
    batch = max(1, 2_000_000 // size)

    def gain(ids: NDArray, axis: int) -> NDArray:
        return score(ids) - score(ids + test.examples)

    def swapped(ours: NDArray, theirs: NDArray, axis: int) -> NDArray:
        return score(ours) - score(theirs)

    bootstrap = stats.bootstrap(
        (ids,), gain, n_resamples=times, batch=batch, method="percentile", vectorized=True, rng=np.random.default_rng(0)
    )
    interval = float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high)
    test = replace(test, difference=float(gain(ids, -1)), ci95=interval)
    if len(test.each) == 1:
        return replace(test, p_value=test.each[0].p_value, method="McNemar, exact")
    permuted = stats.permutation_test(
        (ids, ids + test.examples), swapped, permutation_type="samples", n_resamples=times, batch=batch,
        vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    return replace(test, p_value=float(permuted.pvalue), method=f"randomisation, {times:,} draws")


def mcnemar(seed: int, task_seed: int, ours: NDArray, theirs: NDArray) -> McNemar:
    """Returns McNemar's exact test of the examples' scores, 0 or 1."""
    only, only_baseline = int((ours > theirs).sum()), int((ours < theirs).sum())
    apart = only + only_baseline
    return McNemar(seed, task_seed, only, only_baseline, float(stats.binomtest(only, apart).pvalue) if apart else 1.0)


def _metrics(tuning: FineTuning) -> list[str]:
    """Returns the task's metrics; a metric of several splits (`accuracy_matched`) has one name."""
    names = (tuning.record.get("results") or {}).get("metrics") or {}
    known = (*METRICS, *MEANS)
    return list(dict.fromkeys(next((k for k in known if n == k or n.startswith(f"{k}_")), n) for n in names))


def _read(study: Study, tuning: FineTuning) -> Answers | None:
    """Returns the answers, or None if they were not saved or do not suffice for the task's metrics."""
    path = study.directory / tuning.path / "predictions.jsonl"
    names = _metrics(tuning)
    if not path.is_file() or not names:
        return None
    lines = list(read_lines(path))
    splits = {line.get("split") for line in lines}
    means = [name in MEANS for name in names]
    try:
        keys = [json.dumps([line["split"], line["index"], line["label"]]) for line in lines]
        if all(means):
            values = np.array([[line["metrics"][name] for name in names] for line in lines]).mean(-1)
            return Answers(keys, np.array([]), np.array([]), values)
        if any(name not in METRICS for name in names) or len(splits) > 1 and names != ["accuracy"]:
            return None
        labels, predictions = (np.array([line[key] for line in lines]) for key in ("label", "prediction"))
    except KeyError:
        return None
    return Answers(keys, labels, predictions, (labels == predictions) * 1.0 if names == ["accuracy"] else None)

"""Statistics over a suite of tasks (Agarwal et al., 2021, "Deep RL at the Edge of the Statistical Precipice").

    x_it                          score of pre-training seed i on task t (mean of its fine-tunings), 0 at chance, 1
                                  perfect: (score - chance) / (1 - chance);  n seeds, T tasks
    interquartile mean            mean of the middle half of the n T numbers x_it
    probability of improvement    mean over t of [ #(x_it > y_jt) + #(x_it = y_jt) / 2 ] / n^2   over all i, j:
                                  Mann and Whitney's U / n^2, y the baseline

Intervals are 95 % percentile intervals of a stratified bootstrap: every task keeps n runs. A seed is drawn with all
its tasks, because they start from one pre-trained model, and with both arms, because they share data and initial
values; to draw them separately would treat dependent numbers as independent. With few seeds percentile intervals are
too narrow: three seeds have ten distinct resamples.

`rliable` computes the same, but draws each task separately. Its last release is of August 2024, and it needs arch,
seaborn and absl for two expressions of numpy and scipy's bootstrap.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leanformer.reporting.analysis.chance import chance
from leanformer.reporting.analysis.comparison import Findings, task_scores
from leanformer.reporting.numbers.quantities import fixed, listed, several
from leanformer.reporting.numbers.statistics import RESAMPLES, Interval
from leanformer.reporting.render.document import Table

FEWEST_TASKS, FEWEST_SEEDS = 2, 3
TRIMMED = 0.25


@dataclass(frozen=True)
class Estimate:
    value: float
    ci95: Interval


@dataclass(frozen=True)
class Suite:
    """The statistics of one mechanism and the baseline over all tasks of a study."""

    attention: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    interquartile_mean: Estimate
    baseline_interquartile_mean: Estimate
    probability_of_improvement: Estimate


def suites(findings: Findings) -> list[Suite]:
    """Returns one entry per mechanism that has enough tasks and seeds."""
    study, out = findings.study, []
    levels = {task: chance(study, task) for task in study.tasks}
    known = {task: level for task, level in levels.items() if level is not None and level < 1}
    if len(known) < FEWEST_TASKS:
        return []
    zero = np.array(list(known.values()))
    for name, pairs in findings.pairs.items():
        scores = {run.seed: [task_scores(run, other, task) for task in known] for run, other in pairs.pairs}
        whole = {seed: each for seed, each in scores.items() if None not in each}
        if len(whole) < FEWEST_SEEDS:
            continue
        table = (np.array(list(whole.values())) - zero[:, None]) / (1 - zero[:, None])  # seed, task, arm
        ours, theirs = table[..., 0], table[..., 1]
        out.append(
            Suite(
                name,
                tuple(known),
                tuple(whole),
                Estimate(float(interquartile_mean(ours)), resampled(interquartile_mean, ours)),
                Estimate(float(interquartile_mean(theirs)), resampled(interquartile_mean, theirs)),
                Estimate(
                    float(probability_of_improvement(ours, theirs)),
                    resampled(probability_of_improvement, ours, theirs),
                ),
            )
        )
    return out


def interquartile_mean(scores: NDArray) -> NDArray:
    """Returns the interquartile mean, (..., n, T) -> (...)."""
    return np.asarray(stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), TRIMMED, axis=-1))


def probability_of_improvement(ours: NDArray, theirs: NDArray) -> NDArray:
    """Returns the probability of improvement, (..., n, T) of each arm -> (...)."""
    x, y = ours[..., :, None, :], theirs[..., None, :, :]
    return np.mean((x > y) + (x == y) / 2, axis=(-3, -2, -1))


def resampled(statistic: Callable[..., NDArray], *arms: NDArray) -> Interval:
    """Returns the interval of `statistic`; seeds (first axis) are drawn with replacement, equal for tasks and arms."""

    def of(ids: NDArray, axis: int) -> NDArray:
        return statistic(*(arm[ids] for arm in arms))

    found = stats.bootstrap(
        (np.arange(len(arms[0])),), of, n_resamples=RESAMPLES, batch=1000, method="percentile", vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def suite_table(findings: Findings, found: list[Suite]) -> Table:
    baseline = findings.study.baseline
    rows = [
        [s.attention, str(len(s.seeds)), _shown(s.interquartile_mean), _shown(s.baseline_interquartile_mean)]
        + [_shown(s.probability_of_improvement)]
        for s in found
    ]
    header = ["Attention", "Seeds", "Interquartile mean [95 % CI]", f"{baseline}'s [95 % CI]"]
    caption = (
        f"{several(len(found[0].tasks), 'task')} together ({listed(list(found[0].tasks))}); scores are scaled so that "
        "chance is 0 and perfect is 1. "
        "Probability of improvement: that a run of the mechanism scores higher on a task than a run of the baseline. "
        "Bootstrap over pre-training seeds, each with all its tasks; with few seeds these intervals are too narrow."
    )
    return Table([*header, "Probability of improvement [95 % CI]"], rows, "lrrrr", caption)


def suite_sentence(findings: Findings, found: list[Suite]) -> str:
    """Returns a sentence about the table, or the reason why it is left out."""
    study = findings.study
    if not found:
        if not study.tasks or not study.challengers:
            return ""
        return (
            f"Statistics over the whole suite are left out: they need {FEWEST_TASKS} tasks whose chance is known and "
            f"{FEWEST_SEEDS} pairs of seeds with a score on each."
        )
    probabilities = [f"{_shown(s.probability_of_improvement)} for {s.attention}" for s in found]
    return (
        f"The probability that a run scores higher on a task than a run of {study.baseline} is {listed(probabilities)}."
    )


def _shown(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{fixed(estimate.value, 2)} [{fixed(low, 2)}, {fixed(high, 2)}]"

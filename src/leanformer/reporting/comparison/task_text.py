"""Sentences about the tasks, over seeds and over examples, and about collapsed fine-tunings."""

from leanformer.reporting.analysis.chance import NO_BETTER, above_chance
from leanformer.reporting.analysis.comparison import AVERAGE, Comparison, Findings
from leanformer.reporting.analysis.examples import ExampleTest
from leanformer.reporting.comparison.loss_text import evidence, though
from leanformer.reporting.numbers.margins import points_of
from leanformer.reporting.numbers.quantities import fixed, listed, several
from leanformer.reporting.numbers.statistics import ALPHA, DECIDED, Verdict
from leanformer.reporting.records.study import Study

TWO_TESTS = (
    "Two tests stand side by side. The one over seeds asks whether the difference would come again with other seeds, "
    "that is, from the mechanism rather than from the luck of a training; the verdicts are its. The one over examples "
    "takes these trained models as they are and asks whether they would differ on other examples of the task. With few "
    "seeds the second finds much that the first cannot: that is a difference between these models, not yet one between "
    "mechanisms."
)


def task_sentences(findings: Findings) -> list[str]:
    """Returns one sentence per mechanism: what differs, what is equivalent and what is undecided."""
    study = findings.study
    metrics = [*study.tasks, *([AVERAGE] if len(study.tasks) > 1 else [])]
    said = []
    for name in study.challengers:
        family = [c for metric in metrics for c in findings.of(metric) if c.attention == name]
        parts = []
        for verdict in ("better", "worse"):
            stand = [f"{_place(c)} ({_points(c)})" for c in family if c.verdict == verdict]
            parts += [f"{verdict} than {study.baseline} on {listed(stand)}"] if stand else []
        if same := [c for c in family if c.verdict == "equivalent"]:
            within = f"equivalent to {study.baseline} within {points_of(study.plan)} on"
            parts.append(f"{within} {listed([_place(c) + though(c) for c in same])}")
        if rest := [_place(c) for c in family if c.verdict == "undecided"]:
            parts.append(f"undecided on {listed(rest)}")
        if closed := [_place(c) for c in family if c.verdict == "not testable"]:
            parts.append(f"not testable on {listed(closed)}")
        sentences = [f"{name}, {study.wording.tuned}, is {'; '.join(parts)}."] if parts else []
        if untested := [c for c in family if c.verdict in ("not tested", "not compared")]:
            why = "; ".join(dict.fromkeys(c.note for c in untested))
            subject = "It" if sentences else f"{name}, {study.wording.tuned},"
            sentences.append(f"{subject} cannot be judged on {listed([_place(c) for c in untested])}: {why}.")
        said.append(" ".join(sentences))
    return [sentence for sentence in said if sentence]


def _place(c: Comparison) -> str:
    return "the average of all tasks" if c.metric == AVERAGE else c.metric


def _points(c: Comparison) -> str:
    def shown(value: float) -> str:
        return fixed(100 * value, 1)

    return f"{shown(abs(c.difference.mean or 0.0))} points, {evidence(c, shown, ', ')}"


def two_tests(findings: Findings) -> list[str]:
    """Returns what the two tests ask, then where they disagree; nothing without a test over examples."""
    tested = [test for test in findings.examples if test.p_value_holm is not None]
    if not tested:
        return []
    seeds = {(c.attention, c.metric): c.verdict for c in findings.comparisons}
    verdicts = [(test, _verdict(test), seeds.get((test.attention, test.task), "not compared")) for test in tested]
    said = [TWO_TESTS]
    only_models = [(t, v) for t, v, by_seeds in verdicts if v in DECIDED and by_seeds not in (*DECIDED, "equivalent")]
    if only_models:
        each = listed([f"{t.attention} on {t.task} ({v})" for t, v in only_models])
        said.append(f"These models differ over examples, whether their mechanisms do is open: {each}.")
    only_seeds = [(t, by_seeds) for t, v, by_seeds in verdicts if v not in DECIDED and by_seeds in DECIDED]
    if only_seeds:
        each = listed([f"{t.attention} on {t.task} ({v})" for t, v in only_seeds])
        said.append(f"These differ over seeds, yet the task has too few examples to tell them apart: {each}.")
    against = [t for t, v, by_seeds in verdicts if {v, by_seeds} == {"better", "worse"}]
    if against:
        said.append(f"The tests contradict each other on {listed([f'{t.attention} on {t.task}' for t in against])}.")
    untested = sorted({test.task for test in findings.examples if test.p_value is None and test.examples == 0})
    if untested:
        why = "; ".join(dict.fromkeys(t.note for t in findings.examples if t.p_value is None and t.note))
        said.append(f"Without a test over examples: {listed(untested)}, {why}.")
    return said


def collapses(study: Study) -> str:
    """Returns a sentence about collapsed fine-tunings, also if there are none."""
    tunings = [t for task in study.tasks for t in study.finetunings(task) if t.score is not None]
    if not tunings:
        return ""
    noun, collapsed = study.wording.task, sum(t.collapsed for t in tunings)
    if not collapsed:
        return f"None of {several(len(tunings), noun)} collapsed to one answer for every example."
    be = "has" if collapsed == 1 else "have"
    return (
        f"{collapsed} of {several(len(tunings), noun)} {be} collapsed to one answer for every example, or to a "
        "Matthews correlation of 0. They count in every mean and verdict above; the table has both, with and without."
    )


def chances(findings: Findings) -> str:
    """Returns a sentence about mechanisms that are no better than chance, and tasks on which nothing can be tested."""
    study = findings.study
    blind = {t: [n for n in study.attention if above_chance(study, t, n) is False] for t in study.tasks}
    said = [f"{NO_BETTER.capitalize()} on {task}: {listed(names)}." for task, names in blind.items() if names]
    idle = [f"{c.attention} on {c.metric}" for task in study.tasks for c in findings.of(task) if not c.informative]
    if idle:
        said.append(f"Not testable, since neither the mechanism nor {study.baseline} is above chance: {listed(idle)}.")
    return " ".join(said)


def _verdict(test: ExampleTest) -> Verdict:
    if test.p_value_holm is None or test.p_value_holm >= ALPHA or test.difference is None:
        return "undecided"
    return "better" if test.difference > 0 else "worse"

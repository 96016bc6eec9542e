"""Sentences about which tests form a family, and within which margin mechanisms count as equivalent.

There is one family per question: Holm's correction is over every test that could answer it, so that the probability of
any false answer stays below 0.05. Tests of different questions are not corrected for one another.
"""

from leanformer.reporting.analysis.comparison import AVERAGE, LOSS, Comparison, Findings
from leanformer.reporting.numbers.margins import margin_of, points_of
from leanformer.reporting.numbers.quantities import listed, several


def families(findings: Findings) -> dict[str, str]:
    """Returns question -> its family, for the questions of this study."""
    study, losses = findings.study, findings.of(LOSS)
    main = [c for c in losses if not c.exploratory]
    explored = [c for c in losses if c.exploratory]
    tasks = [c for metric in (*study.tasks, AVERAGE) for c in findings.of(metric)]
    out = {}
    if main:
        planned = f"the main contrasts that the plan names, {listed([c.attention for c in main])}"
        which = planned if explored else "all mechanisms"
        out["final_loss"] = f"Final loss: {_tests(main)}, {which} against {study.baseline}."
    if explored:
        out["final_loss_exploratory"] = (
            f"Final loss, exploratory: {_tests(explored)}, of {listed([c.attention for c in explored])}, which the "
            "plan does not name as main contrasts; they are corrected among themselves and do not confirm anything."
        )
    tested = [ratio for ratio in findings.ratios if ratio.log.p_value_holm is not None]
    if findings.ratios:
        out["cost_to_target"] = (
            f"Cost to target: {several(tested[0].log.family, 'test')}, all mechanisms, targets and resources of the "
            "table together; ratios that are the same, as those of tokens and steps with steps of one size, count once."
            " The picture of these ratios has no tests."
            if tested
            else "Cost to target: no test, since no ratio of the table is known with a spread."
        )
    if tasks:
        average = " and their average" if len(study.tasks) > 1 else ""
        out["tasks"] = f"Tasks: {_tests(tasks)}, all mechanisms on all tasks{average} together."
    if any(test.p_value is not None for test in findings.examples):
        out["examples"] = "Tests over examples: all mechanisms on all tasks together."
    return out


def family_sentence(findings: Findings) -> str:
    return " ".join(["Holm's correction is over one family for one question.", *families(findings).values()])


def margin_sentence(findings: Findings) -> str:
    plan, task = findings.study.plan, ""
    loss = f"{margin_of(plan):g} nats of final loss{_planned(plan.get('margin'))}"
    if findings.study.tasks:
        task = f", and within {points_of(plan)} of a task's score{_planned(plan.get('task_margin'))}"
    return (
        f"Equivalent: two one-sided t-tests show the difference to be within {loss}{task}. Undecided: neither a "
        "difference nor equivalence is shown."
    )


def _planned(margin: object) -> str:
    return ", the margin that was planned" if margin is not None else ", which is the default: no margin was planned"


def _tests(family: list[Comparison]) -> str:
    return several(sum(c.difference.p_value_holm is not None for c in family), "test")

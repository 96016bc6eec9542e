"""`results.json`: a report's numbers for scripts. Losses are in nats, scores are fractions, and unknowns are null."""

from dataclasses import asdict
from typing import Any

from leanformer.records.results import finite
from leanformer.reporting.analysis.chance import chance
from leanformer.reporting.analysis.comparison import Comparison, Findings
from leanformer.reporting.analysis.examples import ExampleTest
from leanformer.reporting.analysis.ratios import Ratio
from leanformer.reporting.analysis.score_points import ScorePoint, score_points
from leanformer.reporting.analysis.suite import suites
from leanformer.reporting.comparison.caveats import caveats
from leanformer.reporting.comparison.families import families
from leanformer.reporting.comparison.headline import headline
from leanformer.reporting.numbers.margins import margin_of, task_margin_of
from leanformer.reporting.records.runs import SCHEMA, FineTuning, Run
from leanformer.reporting.records.study import Study, learned_nothing
from leanformer.reporting.records.sweep import Rate


def results(findings: Findings) -> dict[str, Any]:
    study = findings.study
    plan, first = study.plan, study.runs[0].record
    return finite(
        {
            "schema": SCHEMA,
            "baseline": study.baseline,
            "planned_baseline": study.planned_baseline or study.baseline,
            "headline": headline(findings),
            "floor": {"context_free": study.floor, "unigram": study.unigram},
            "runs": [_run(study, run) for run in study.runs],
            "comparisons": [_comparison(c) for c in findings.comparisons],
            "other_texts": [_comparison(c) for c in findings.other_texts],
            "held_out": {name: asdict(crossed) for name, crossed in findings.crossed.items()},
            "score_points": [_point(point) for point in score_points(findings)],
            "families": families(findings),
            "margin": margin_of(plan),
            "task_margin": task_margin_of(plan),
            "detectable_difference": findings.detectable,
            "detectable_difference_uncorrected": findings.detectable_alone,
            "to_target": [_ratio(r) | _test(r) for r in findings.ratios],
            "to_target_curve": [_ratio(r) for r in findings.ratio_curve],
            "example_tests": [_examples(t) for t in findings.examples],
            "without_collapsed": [_comparison(c) for c in findings.without_collapsed],
            "sweep": {name: [_rate(r) for r in of] for name, of in study.sweep.items()},
            "chance": {task: chance(study, task) for task in study.tasks},
            "suite": [asdict(of) for of in suites(findings)],
            "caveats": caveats(findings),
            "attention": list(study.attention),
            "aliases": study.definitions,
            "seeds": study.seeds,
            "learning_rates": plan.get("learning_rates"),
            "tasks": study.tasks,
            "plan": study.written_plan and study.written_plan.record,
            "command": plan.get("command"),
            "data": plan.get("data") or first.get("data"),
            "settings": plan.get("settings") or first.get("settings"),
            "versions": made_by(study, "versions"),
            "hardware": made_by(study, "hardware"),
        }
    )


def made_by(study: Study, key: str) -> Any:
    """Returns what the runs record under `key`: the value that all share, else every distinct value."""
    distinct: list[Any] = []
    for run in study.runs:
        if run.record.get(key) is not None and run.record[key] not in distinct:
            distinct.append(run.record[key])
    return distinct[0] if len(distinct) == 1 else distinct or None


def _run(study: Study, run: Run) -> dict[str, Any]:
    below = 1 - run.final_loss / run.floor if run.final_loss is not None and run.floor else None
    tasks: dict[str, list[dict[str, Any]]] = {}
    for tuning in run.finetunings:
        tasks.setdefault(tuning.task, []).append(_finetuning(tuning))
    return {
        "attention": run.attention,
        "seed": run.seed,
        "learning_rate": run.learning_rate,
        "chosen": study.is_chosen(run),
        "tuning": run.tuning,
        "status": run.status,
        "problem": run.problem,
        "parameters": run.parameters,
        "flops_per_token": run.flops_per_token,
        "tokens": run.tokens,
        "seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        "mfu": run.mfu,
        "energy_joules": run.energy_joules,
        "joules_per_million_tokens": run.joules_per_million_tokens,
        "final_loss": run.final_loss,
        "scored_on": run.part,
        "validation_loss": run.selection_loss,
        "best_loss": run.best_loss,
        "below_floor": below,
        "learned_from_context": None if below is None else not learned_nothing(run),
        "path": run.path,
        "tasks": tasks,
    }


def _finetuning(tuning: FineTuning) -> dict[str, Any]:
    found = tuning.record.get("results") or {}
    return {
        "seed": tuning.seed,
        "score": tuning.score,
        "collapsed": tuning.collapsed,
        "metrics": found.get("metrics") or {},
        "examples": found.get("examples"),
        "status": tuning.status,
        "problem": tuning.problem,
        "path": tuning.path,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    loss = rate.loss
    return {
        "learning_rate": rate.learning_rate,
        "n": loss.n,
        "mean_final_loss": loss.mean,
        "sd_final_loss": loss.sd,
        "chosen": rate.chosen and loss.n > 0,
    }


def _comparison(c: Comparison) -> dict[str, Any]:
    d = c.difference
    return {
        "attention": c.attention,
        "metric": c.metric,
        "n": d.n,
        "mean_difference": d.mean,
        "sd_difference": d.sd,
        "standard_error": d.standard_error,
        "df": d.df,
        "ci95": list(d.ci95) if d.ci95 else None,
        "ci90": list(d.ci90) if d.ci90 else None,
        "p_value": d.p_value,
        "p_value_holm": d.p_value_holm,
        "margin": d.margin,
        "p_equivalence": d.p_equivalence,
        "p_equivalence_holm": d.p_equivalence_holm,
        "verdict": c.verdict,
        "exploratory": c.exploratory,
        "seeds": list(c.seeds),
        "planned": c.planned,
        "note": c.note,
        "informative": c.informative,
        "bootstrap95": list(d.bootstrap95) if d.bootstrap95 else None,
        "detectable": d.detectable,
        "detectable_holm": d.detectable_holm,
    }


def _point(point: ScorePoint) -> dict[str, Any]:
    return {
        "score_at": point.score_at,
        "part": point.part,
        "mean_loss": {name: losses.mean for name, losses in point.losses.items()},
        "comparisons": [_comparison(c) for c in point.comparisons],
    }


def _ratio(r: Ratio) -> dict[str, Any]:
    least, most = r.bounds
    return {
        "attention": r.attention,
        "resource": r.resource,
        "target": r.target.loss,
        "target_fraction": r.target.fraction,
        "n": len(r.seeds),
        "arrived": r.arrived[0],
        "baseline_arrived": r.arrived[1],
        "ratio": r.ratio,
        "ci95": list(r.ci95) if r.ci95 else None,
        "at_least": least if least > 0 else None,
        "at_most": most,
        "seeds": list(r.seeds),
        "costs": [_cost(*ours) for ours, _ in r.costs],
        "baseline_costs": [_cost(*theirs) for _, theirs in r.costs],
    }


def _test(r: Ratio) -> dict[str, Any]:
    return {"p_value": r.log.p_value, "p_value_holm": r.log.p_value_holm, "verdict": r.verdict}


def _cost(least: float, most: float) -> dict[str, float | None]:
    """Returns the cost or its bound: more than the whole run's, or less than that of its first validation."""
    exact = least if least == most else None
    return {"exact": exact, "more_than": least if exact is None and least else None, "at_most": most}


def _examples(t: ExampleTest) -> dict[str, Any]:
    return {
        "attention": t.attention,
        "task": t.task,
        "finetunings": t.finetunings,
        "examples": t.examples,
        "mean_difference": t.difference,
        "ci95": list(t.ci95) if t.ci95 else None,
        "p_value": t.p_value,
        "p_value_holm": t.p_value_holm,
        "method": t.method,
        "note": t.note,
        "pairs": [one._asdict() for one in t.each],
    }

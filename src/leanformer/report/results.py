"""`results.json`: a report's numbers, for scripts. Losses in nats, scores as fractions, null where there is none."""

import math
from typing import Any

from leanformer.report import text
from leanformer.report.caveats import caveats
from leanformer.report.comparison import Comparison, Findings
from leanformer.report.runs import SCHEMA, FineTuning, Run
from leanformer.report.statistics import Spread
from leanformer.report.study import Study, is_stuck


def results(findings: Findings) -> dict[str, Any]:
    study = findings.study
    plan, one = study.plan, study.runs[0].record
    return finite(
        {
            "schema": SCHEMA,
            "baseline": study.baseline,
            "headline": text.headline(findings),
            "floor": {"context_free": study.floor, "unigram": study.unigram},
            "runs": [_run(study, run) for run in study.runs],
            "comparisons": [_comparison(c) for c in findings.comparisons],
            "tokens_to_target_sensitivity": [_comparison(c) for c in findings.sensitivity],
            "detectable_difference": findings.detectable,
            "sweep": {
                name: [_rate(r.learning_rate, r.final_loss, r.chosen) for r in of] for name, of in study.sweep.items()
            },
            "caveats": caveats(findings),
            "attention": list(study.attention),
            "seeds": study.seeds,
            "learning_rates": plan.get("learning_rates"),
            "tasks": study.tasks,
            "command": plan.get("command"),
            "data": plan.get("data") or one.get("data"),
            "settings": plan.get("settings") or one.get("settings"),
            "versions": made_by(study, "versions"),
            "hardware": made_by(study, "hardware"),
        }
    )


def finite(value: Any) -> Any:
    """The same with null for what JSON cannot hold: NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def made_by(study: Study, key: str) -> Any:
    """What the runs record under `key`: the one value they share, else every distinct one."""
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
        "status": run.status,
        "problem": run.problem,
        "parameters": run.parameters,
        "flops_per_token": run.flops_per_token,
        "tokens": run.tokens,
        "seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        "final_loss": run.final_loss,
        "best_loss": run.best_loss,
        "below_floor": below,
        "learned_from_context": None if below is None else not is_stuck(run),
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


def _rate(learning_rate: float | None, loss: Spread, chosen: bool) -> dict[str, Any]:
    return {
        "learning_rate": learning_rate,
        "n": loss.n,
        "mean_final_loss": loss.mean,
        "sd_final_loss": loss.sd,
        "chosen": chosen,
    }


def _comparison(c: Comparison) -> dict[str, Any]:
    d = c.difference
    record: dict[str, Any] = {
        "attention": c.attention,
        "metric": c.metric,
        "n": d.n,
        "mean_difference": d.mean,
        "sd_difference": d.sd,
        "ci95": list(d.ci95) if d.ci95 else None,
        "p_value": d.p_value,
        "p_value_holm": d.p_value_holm,
        "verdict": c.verdict,
        "seeds": list(c.seeds),
        "planned": c.planned,
        "note": c.note,
        "informative": c.informative,
    }
    if c.target is not None:
        record |= {
            "target": c.target.loss,
            "target_fraction": c.target.fraction,
            "arrived": c.arrived,
            "baseline_arrived": c.baseline_arrived,
        }
    return record

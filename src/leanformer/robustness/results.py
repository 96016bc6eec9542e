"""`results.json` of a study of robustness: the report's numbers, for scripts. Scores are fractions."""

from dataclasses import asdict
from typing import Any

from leanformer.records.results import results_of
from leanformer.reporting.comparison.results import made_by
from leanformer.robustness.findings import Effect, Findings
from leanformer.robustness.plan import TRANSFER
from leanformer.robustness.wording import caveats, headline


def results(findings: Findings) -> dict[str, Any]:
    study, plan = findings.study, findings.plan
    return results_of(
        "robustness",
        {
            "headline": headline(findings),
            "attention": list(study.attention),
            "baseline": study.baseline,
            "seeds": study.seeds,
            "plan": plan.record(),
            "scores": [
                {
                    "task": task,
                    "attention": name,
                    "seed": seed,
                    "clean": of.clean,
                    "points": [{"axis": p.axis, "at": p.at, "scores": found} for p, found in of.points.items()],
                }
                for (task, name, seed), of in findings.scores.items()
            ],
            "constant_scores": findings.constant,
            "means": [_mean(findings, task, name) for task in plan.tasks for name in study.attention],
            "changed_words": [
                {"task": task, "axis": p.axis, "level": p.at, "share": share}
                for (task, p), share in findings.changed.items()
                if p.axis != TRANSFER
            ],
            "comparisons": [_effect(e) for e in findings.effects],
            "caveats": caveats(findings),
            "versions": made_by(study, "versions"),
            "hardware": made_by(study, "hardware"),
        },
    )


def _mean(findings: Findings, task: str, name: str) -> dict[str, Any]:
    points = [point for of in findings.axes(task).values() for point in of]
    return {
        "task": task,
        "attention": name,
        "clean": asdict(findings.spread(task, name, [])),
        "points": [{"axis": p.axis, "at": p.at, **asdict(findings.spread(task, name, [p]))} for p in points],
    }


def _effect(e: Effect) -> dict[str, Any]:
    d = e.difference
    return {
        "task": e.task,
        "attention": e.attention,
        "axis": e.axis,
        "at": e.at,
        "measure": e.measure,
        "n": d.n,
        "mean_difference": d.mean,
        "sd_difference": d.sd,
        "ci95": list(d.ci95) if d.ci95 else None,
        "p_value": d.p_value,
        "p_value_holm": d.p_value_holm,
        "verdict": e.verdict,
        "informative": e.informative,
        "seeds": list(e.seeds),
        "note": d.note,
    }

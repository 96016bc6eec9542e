"""`results.json` of a rebuilt paper: every published number beside the measured one, for scripts."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from leanformer.records.results import results_of
from leanformer.reproduction.metrics import Measurements
from leanformer.reproduction.published import Paper
from leanformer.reproduction.tables import Judged
from leanformer.reproduction.verdict import VERDICTS


def results(paper: Paper, asked: dict[str, Any], rows: list[Judged], measurements: Measurements) -> dict[str, Any]:
    return results_of(
        "reproduction",
        {
            "asked": asked,
            "reference": paper.reference,
            "verdicts": {verdict: count(rows)[verdict] for verdict in VERDICTS},
            "rows": [_row(r) for r in rows],
            "not_made": measurements.missing,
        },
    )


def count(rows: list[Judged]) -> Counter[str]:
    return Counter(r.verdict for r in rows)


def _row(r: Judged) -> dict[str, Any]:
    told, m = r.row.values, r.measured
    return {
        "table": r.table.title,
        "row": r.row.name,
        "study": r.table.study,
        "measure": r.table.measure,
        "unit": r.table.unit,
        "effect": r.table.effect,
        "attention": r.mechanism,
        "baseline": r.row.baseline,
        "published": {
            "attention": asdict(told[r.mechanism]) if r.mechanism in told else None,
            "baseline": asdict(told[r.row.baseline]) if r.row.baseline in told else None,
            "effect": r.table.published(r.row, r.mechanism),
            "direction": r.table.direction(r.row, r.mechanism),
        },
        "measured": {
            "attention": asdict(m.own),
            "baseline": asdict(m.baseline),
            "effect": m.effect,
            "ci95": m.ci95,
            "seeds": m.seeds,
            "verdict": m.verdict,
        },
        "verdict": r.verdict,
        "note": r.note,
    }

"""`results.json` of encoders side by side: the report's numbers, for scripts. Accuracies are fractions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from leanformer.records.results import results_of
from leanformer.reporting.numbers.quantities import fixed
from leanformer.reporting.numbers.statistics import Spread, spread

MEASURED = (
    "accuracy@1",
    "accuracy@5",
    "unlisted_accuracy@1",
    "unlisted_accuracy@5",
    "names_per_second",
    "searches_per_second",
    "training_seconds",
)
"""Of every run, hence with a spread over seeds."""
FIXED = ("parameters", "without_embeddings", "index_bytes", "steps")


def results(records: Sequence[dict[str, Any]], order: Sequence[str], command: str) -> dict[str, Any]:
    """Returns the results of the runs of all encoders, in this order of the encoders."""
    rows = []
    for name in order:
        own = [record for record in records if record["encoder"] == name]
        found = [record["results"] for record in own]
        rows.append(
            {
                "encoder": name,
                "kind": own[0]["encoder_kind"],
                "source": own[0]["source"],
                "seeds": [record["seed"] for record in own],
                **{key: asdict(spread([run[key] for run in found if run[key] is not None])) for key in MEASURED},
                **{key: found[0][key] for key in FIXED},
                "settings": own[0]["settings"]["linking"],
            }
        )
    first = records[0]
    return results_of(
        "link",
        {
            "headline": headline(rows, first["data"]["split"]),
            "encoders": rows,
            "data": first["data"] | {"unlisted": first["results"]["unlisted"]},
            "versions": first["versions"],
            "hardware": first["hardware"],
            "command": command,
        },
    )


def headline(rows: Sequence[dict[str, Any]], split: str) -> str:
    best = sorted(rows, key=lambda row: -row["accuracy@1"]["mean"])
    said = ", ".join(f"{row['encoder']} {points(Spread(**row['accuracy@1']))}" for row in best)
    return f"Accuracy@1 on {split}, in points: {said}."


def points(of: Spread) -> str:
    if of.mean is None:
        return "none"
    return fixed(100 * of.mean, 1) + (f" ± {100 * of.sd:.1f}" if of.sd is not None else "")

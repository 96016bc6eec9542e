"""The improvement by every step of the ladder of recipes: `python benchmarks/ladder.py DIR`.

DIR is a comparison whose arms are the steps in order, as in docs/performance.md. The Markdown table has one row per
step: its final validation loss, the difference to the previous step, paired by seed, with its 95 % t interval and
p-values corrected (Holm) for all steps, and when it reached the final loss of the previous step, as a fraction of that
step's training FLOPs and seconds (medians over seeds). The same values are written to DIR/ladder.json. Seconds need
runs without other programs on the machine.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from leanformer.reporting.analysis.ratios import cost
from leanformer.reporting.numbers.statistics import paired_difference, spread, with_holm
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study, read_study

RESOURCES = ("flops", "seconds")


def steps(study: Study) -> list[dict[str, Any]]:
    """Returns one row per arm, from the second on with its improvement."""
    rows: list[dict[str, Any]] = []
    changes, before = [], {}
    for name in study.attention:
        runs = {run.seed: run for run in study.at(name)}
        losses = {seed: run.final_loss for seed, run in runs.items()}
        row = {"step": name.partition("config=")[2].rstrip("]") or "bert", "final_loss": losses}
        if before:
            changes.append(paired_difference([losses[seed] - before[seed].final_loss for seed in runs]))
            for resource in RESOURCES:
                shares = {seed: _share(run, before[seed], resource) for seed, run in runs.items()}
                row[f"{resource}_to_the_step_before"] = shares
        rows.append(row)
        before = runs
    for row, change in zip(rows[1:], with_holm(changes), strict=True):
        row |= {"difference": change.mean, "ci95": change.ci95, "p_value_holm": change.p_value_holm}
    return rows


def _share(run: Run, before: Run, resource: str) -> float | None:
    """Returns the cost of reaching the final loss of `before`, as a fraction of its cost; None if it is not reached."""
    crossing = run.descent.first_crossing(before.final_loss)
    return None if crossing is None else cost(run, resource, crossing) / cost(before, resource, before.tokens)


def _median(shares: list[float | None]) -> str:
    there = [share for share in shares if share is not None]
    never = f"{len(shares) - len(there)} never" if len(there) < len(shares) else ""
    return ", ".join(filter(None, [f"{np.median(there):.2f}" if there else "", never]))


def main(directory: Path) -> None:
    rows = steps(read_study(directory))
    (directory / "ladder.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("| step | final loss | to the step before [95 % CI] | p, Holm | FLOPs | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        losses, cells = spread(list(row["final_loss"].values())), [""] * (2 + len(RESOURCES))
        if "difference" in row:
            low, high = row["ci95"] or ("?", "?")
            shares = (_median(list(row[f"{resource}_to_the_step_before"].values())) for resource in RESOURCES)
            cells = [f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]", f"{row['p_value_holm']:.3f}", *shares]
        print(f"| `{row['step']}` | {losses.mean:.3f} ± {losses.sd or 0:.3f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

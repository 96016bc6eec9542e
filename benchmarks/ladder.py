"""What every step of the ladder of recipes is worth: `python benchmarks/ladder.py DIR`.

DIR is a comparison whose arms are the steps in their order, as docs/performance.md makes it. A row a step, in Markdown:
its final validation loss, the difference to the step before it, paired by seed, with its 95 % t interval and p-values
corrected (Holm) for all steps, and how soon it had what the step before it had at its end, as a share of its training
FLOPs (median over seeds). The same goes to DIR/ladder.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from leanformer.report.statistics import paired_difference, spread, with_holm
from leanformer.report.study import Study, read_study
from leanformer.report.target import first_crossing


def steps(study: Study) -> list[dict[str, Any]]:
    """A row an arm; from the second on with what it changed."""
    rows: list[dict[str, Any]] = []
    changes, before = [], {}
    for name in study.attention:
        runs = {run.seed: run for run in study.at(name)}
        losses = {seed: run.final_loss for seed, run in runs.items()}
        row = {"step": name.partition("config=")[2].rstrip("]") or "bert", "final_loss": losses}
        if before:
            changes.append(paired_difference([losses[seed] - before[seed].final_loss for seed in runs]))
            shares = [
                crossing * run.flops_per_token / (before[seed].tokens * before[seed].flops_per_token)
                for seed, run in runs.items()
                if (crossing := first_crossing(run.curve, before[seed].final_loss)) is not None
            ]
            row["flops_to_the_step_before"] = shares
        rows.append(row)
        before = runs
    for row, change in zip(rows[1:], with_holm(changes), strict=True):
        row |= {"difference": change.mean, "ci95": change.ci95, "p_value_holm": change.p_value_holm}
    return rows


def main(directory: Path) -> None:
    rows = steps(read_study(directory))
    (directory / "ladder.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("| step | final loss | to the step before [95 % CI] | p, Holm | FLOPs to what the step before it had |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        losses, cells = spread(list(row["final_loss"].values())), ["", "", ""]
        if "difference" in row:
            low, high = row["ci95"] or ("?", "?")
            never = len(row["final_loss"]) - len(row["flops_to_the_step_before"])
            shares = row["flops_to_the_step_before"]
            cells = [
                f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]",
                f"{row['p_value_holm']:.3f}",
                (f"{np.median(shares):.2f}" if shares else "") + (f" ({never} never)" if never else ""),
            ]
        print(f"| `{row['step']}` | {losses.mean:.3f} ± {losses.sd or 0:.3f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

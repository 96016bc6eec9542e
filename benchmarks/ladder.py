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
from leanformer.training.curve import read_curve


def curves(directory: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """By arm and seed: the run of results.json, with its validations as (FLOPs spent, loss)."""
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for run in json.loads((directory / "results.json").read_text())["runs"]:
        if run["status"] == "finished":
            lines = read_curve(directory / run["path"] / "curve.jsonl")
            points = [(line["tokens"], line["validation_loss"]) for line in lines if "validation_loss" in line]
            tokens, losses = np.array(points).T
            run["curve"] = tokens * run["flops_per_token"], losses
            arms.setdefault(run["attention"], {})[run["seed"]] = run
    return arms


def reached(run: dict[str, Any], loss: float) -> float:
    """FLOPs to this loss, linearly between validations; not a number if it never comes."""
    flops, losses = run["curve"]
    below = np.flatnonzero(losses <= loss)
    if not len(below):
        return float("nan")
    after = below[0]
    if not after:
        return float(flops[0])
    return float(np.interp(-loss, -losses[after - 1 : after + 1], flops[after - 1 : after + 1]))


def steps(arms: dict[str, dict[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row an arm; from the second on with what it changed."""
    rows: list[dict[str, Any]] = []
    changes, before = [], None
    for name, arm in arms.items():
        losses = {seed: run["final_loss"] for seed, run in arm.items()}
        row = {"step": name.partition("config=")[2].rstrip("]") or "bert", "final_loss": losses}
        if before is not None:
            changes.append(paired_difference([losses[seed] - before[seed]["final_loss"] for seed in arm]))
            spent = [before[seed]["curve"][0][-1] for seed in arm]
            needed = [reached(run, before[seed]["final_loss"]) for seed, run in arm.items()]
            row["flops_to_the_step_before"] = [n / s for n, s in zip(needed, spent, strict=True) if not np.isnan(n)]
        rows.append(row)
        before = arm
    for row, change in zip(rows[1:], with_holm(changes), strict=True):
        row |= {"difference": change.mean, "ci95": change.ci95, "p_value_holm": change.p_value_holm}
    return rows


def main(directory: Path) -> None:
    rows = steps(curves(directory))
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

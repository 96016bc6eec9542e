"""Probes of the models of a comparison: minimal pairs and attention maps, paired by seed.

    python -m benchmarks.probes COMPARISON --data DATA --pairs BLIMP [--pairs SUPPLEMENT] --out OUT

COMPARISON is a directory of `leanformer compare`, DATA the tokens its models were trained on, and every --pairs a
folder of minimal pairs, of which --limit per paradigm are used. OUT/results.json has one row per run; a run in it is
not measured again. Two tables are written to standard output and to OUT/report.md: accuracies, with the difference to
the baseline, its 95 % t interval and p-values corrected (Holm) for all mechanisms of a folder of pairs; and attention,
as means over heads and layers.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.cells import mean_sd
from leanformer.evaluation.evaluate import evaluate
from leanformer.files import write_json, write_text
from leanformer.reporting.numbers.statistics import paired_difference, with_holm
from leanformer.reporting.records.study import Study, read_study
from leanformer.training.machine.hardware import prepare_cpu

OF_PAIRS = ("accuracy", "pairs", "ties", "limit", "fields", "phenomena")
OF_MAPS = ("entropy", "distance", "itself", "before", "after", "symmetry")


def measure(run: Path, data: Path, pairs: list[Path], limit: int, sequences: int) -> dict[str, Any]:
    """Returns the measurements of a run, with fields and phenomena but without paradigms."""
    results = {folder.name: evaluate(run, "blimp", folder, limit=limit) for folder in pairs}
    maps = evaluate(run, "attention", data, limit=sequences)
    return {
        "pairs": {name: {key: of[key] for key in OF_PAIRS if key in of} for name, of in results.items()},
        "attention_maps": {key: maps.get(key) for key in OF_MAPS} | {"uniform": maps["uniform"][0]},
    }


def accuracies(study: Study, rows: dict[str, dict[int, dict[str, Any]]], name: str) -> list[str]:
    of = {arm: {seed: row["pairs"][name]["accuracy"] for seed, row in found.items()} for arm, found in rows.items()}
    base = of[study.baseline or study.attention[0]]
    challengers = [arm for arm in of if of[arm] is not base]
    changes = with_holm(
        [paired_difference([of[arm][seed] - base[seed] for seed in base if seed in of[arm]]) for arm in challengers]
    )
    lines = ["", f"| {name} | accuracy | difference [95 % CI] | p, Holm |", "|---|---:|---:|---:|"]
    changed = dict(zip(challengers, changes, strict=True))
    for arm, found in of.items():
        cells = ["", ""]
        if arm in changed and (change := changed[arm]).mean is not None:
            low, high = change.ci95 or (float("nan"), float("nan"))
            cells = [f"{change.mean:+.3f} [{low:+.3f}, {high:+.3f}]"]
            cells += ["" if change.p_value_holm is None else f"{change.p_value_holm:.3f}"]
        lines.append(f"| `{arm}` | {mean_sd(list(found.values()), digits=3)} | {' | '.join(cells)} |")
    return lines


def maps(rows: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    lines = ["", f"| attention | {' | '.join(OF_MAPS)} |", f"|---|{'---:|' * len(OF_MAPS)}"]
    for arm, found in rows.items():
        values = [[row["attention_maps"][key] for row in found.values()] for key in OF_MAPS]
        cells = ["" if None in of else mean_sd(of, digits=3) for of in values]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    uniform = next(iter(next(iter(rows.values())).values()))["attention_maps"]["uniform"]
    return [*lines, "| uniform | " + " | ".join(f"{uniform[k]:.3f}" if k in uniform else "" for k in OF_MAPS) + " |"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.probes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, action="append", required=True)
    parser.add_argument("--limit", type=int, default=50, help="pairs a paradigm")
    parser.add_argument("--sequences", type=int, default=64, help="of attention maps")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    prepare_cpu(None)
    study, file = read_study(options.comparison), options.out / "results.json"
    options.out.mkdir(parents=True, exist_ok=True)
    record = json.loads(file.read_text()) if file.exists() else {"schema": 1, "kind": "probes", "rows": []}
    there = {(row["attention"], row["seed"]) for row in record["rows"]}
    for arm in study.attention:
        for run in study.at(arm):
            if (arm, run.seed) in there:
                continue
            found = measure(study.directory / run.path, options.data, options.pairs, options.limit, options.sequences)
            record["rows"].append({"attention": arm, "seed": run.seed, "final_loss": run.final_loss} | found)
            write_json(file, record)
    rows: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in study.attention}
    for row in record["rows"]:
        rows[row["attention"]][row["seed"]] = row
    lines = [line for folder in options.pairs for line in accuracies(study, rows, folder.name)] + maps(rows)
    write_text(options.out / "report.md", "\n".join(lines).lstrip() + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

"""Fine-tuning a pre-trained model on a task: the function behind `leanformer finetune`.

One seed makes a run directory of OUT, several make OUT/seed-1, OUT/seed-2, ... and OUT/summary.json. What a run
directory holds is said in `tuning`.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanformer.files import write_json
from leanformer.finetuning.run import load_task, run_finetuning
from leanformer.locks import claimed
from leanformer.settings import Settings

SUMMARY = "summary.json"


def finetune(
    run: str | Path,
    task: str,
    task_data: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    seeds: int | None = None,
    keep_model: bool = True,
    quiet: bool = False,
) -> dict[str, Any]:
    """Fine-tune the model of `run` on `task` from the folder `task_data` (or "hub") into `out`.

    Returns run.json; with `seeds`, which trains with seeds 1 to N, summary.json. A finished run of the same model, data
    and settings in `out` is kept, an unfinished one replaced; another run there is a FileExistsError. ArithmeticError
    if the loss is no longer finite.
    """
    out, finetuning = Path(out), (settings or Settings()).finetuning_for(task)
    if seeds is not None and seeds < 1:
        raise ValueError(f"{seeds} seeds: at least one is needed")
    if seeds is not None and (out / "run.json").exists():
        raise FileExistsError(f"{out} holds a single run, not a folder a seed: choose another --out")
    loaded = load_task(run, task, task_data, finetuning)
    if not quiet:
        for note in loaded.record["data"]["notes"]:
            print(f"note: {note}")
    if seeds is None:
        return run_finetuning(loaded, finetuning, out, keep_model=keep_model, quiet=quiet)
    with claimed(out):
        records = [
            run_finetuning(
                loaded, replace(finetuning, seed=seed), out / f"seed-{seed}", keep_model=keep_model, quiet=quiet
            )
            for seed in range(1, seeds + 1)
        ]
        summary = summarise(records)
        write_json(out / SUMMARY, summary)
        return summary


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Score and metrics over seeds: mean and `sd`, which has n - 1 below the line, and is None for a single seed."""
    results = [record["results"] for record in records]
    scores = [result["score"] for result in results]
    return {
        "schema": 1,
        "kind": "finetune-summary",
        "task": records[0]["task"],
        "attention": records[0]["attention"],
        "pretrained": records[0]["pretrained"],
        "seeds": [record["seed"] for record in records],
        "scores": scores,
        "score": _spread(scores)["mean"],
        "sd": _spread(scores)["sd"],
        "metrics": {name: _spread([r["metrics"][name] for r in results]) for name in results[0]["metrics"]},
        "collapsed": sum(result["collapsed"] for result in results),
    }


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}

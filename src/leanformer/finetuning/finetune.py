"""Fine-tuning of a pre-trained model on a task or a user's labelled file: the functions behind `leanformer finetune`.

With one seed OUT is a run directory; with several seeds the runs are OUT/seed-1, OUT/seed-2, ..., with
OUT/summary.json. `run.py` describes a run directory.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanformer.data.own.load import OwnFiles, load
from leanformer.files import write_json
from leanformer.finetuning.run import run_finetuning
from leanformer.finetuning.task_data import TaskData, load_own, load_task
from leanformer.finetuning.watch import advice
from leanformer.locks import claimed
from leanformer.records.run import RECORD, SUMMARY
from leanformer.settings import FinetuningSettings, Settings


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

    Returns run.json or, with `seeds`, which trains with seeds 1 to N, summary.json. A finished run of the same model,
    data and settings in `out` is kept, and an unfinished one is replaced. Raises FileExistsError if `out` holds another
    run, ArithmeticError if the loss is no longer finite.
    """
    finetuning = (settings or Settings()).finetuning_for(task)
    _require_place(Path(out), seeds)
    loaded = load_task(run, task, task_data, finetuning)
    return _run(loaded, finetuning, Path(out), seeds, keep_model=keep_model, quiet=quiet)


def finetune_own(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    text: Sequence[str] = (),
    label: Sequence[str] = (),
    kind: str | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    split_seed: int = 0,
    seeds: int | None = None,
    keep_model: bool = True,
    quiet: bool = False,
) -> dict[str, Any]:
    """Fine-tune the model of `run` on the labelled file `data` into `out`; the rest is as for `finetune`.

    `text` and `label` name the file's columns, and `kind` is one of `own.kinds.KINDS`; both are found from the file
    if they are not given (docs/fine-tuning.md). Without a `validation` file, a part of `data` is held out by
    `split_seed`. Class weights are `settings.finetuning.loss = "balanced"`.
    """
    validation, test = (None if path is None else Path(path) for path in (validation, test))
    own = OwnFiles(Path(data), tuple(text), tuple(label), kind, validation, test, split_seed)
    finetuning = (settings or Settings()).finetuning
    _require_place(Path(out), seeds)
    loaded = load_own(run, load(own, balanced=finetuning.loss == "balanced"), finetuning)
    return _run(loaded, finetuning, Path(out), seeds, keep_model=keep_model, quiet=quiet)


def _require_place(out: Path, seeds: int | None) -> None:
    if seeds is not None and seeds < 1:
        raise ValueError(f"{seeds} seeds: at least one is needed")
    if seeds is not None and (out / RECORD).exists():
        raise FileExistsError(f"{out} holds a single run, not one folder per seed: choose another --out")


def _run(
    loaded: TaskData, finetuning: FinetuningSettings, out: Path, seeds: int | None, *, keep_model: bool, quiet: bool
) -> dict[str, Any]:
    """Fine-tune with one seed or several; returns run.json or summary.json."""
    if not quiet:
        for note in loaded.record["data"]["notes"]:
            print(f"note: {note}")
    if seeds is None:
        record = run_finetuning(loaded, finetuning, out, keep_model=keep_model, quiet=quiet)
        if record["results"]["collapsed"] and not quiet:
            remedy = advice(loaded.task, finetuning, loaded.width)
            print(f"note: the model gives every row the same answer, it has learned nothing: {remedy}")
        return record
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
    """Returns mean and `sd` of score and metrics over seeds; `sd` divides by n - 1, and is None for a single seed."""
    results = [record["results"] for record in records]
    verdicts = [result["baselines"] for result in results if "baselines" in result]
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
        **({"baselines": verdicts} if verdicts else {}),
    }


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}

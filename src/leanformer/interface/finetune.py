"""`leanformer.finetune`: fine-tunes a trained model on labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.finetuning.finetune import finetune as finetune_task
from leanformer.finetuning.finetune import finetune_own
from leanformer.interface import lists
from leanformer.interface.run import Run
from leanformer.interface.settings import Given, request


def finetune(
    run: Any,
    data: str | Path | None = None,
    *,
    out: str | Path,
    text: str | Sequence[str] | None = None,
    label: str | Sequence[str] | None = None,
    kind: str | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    split_seed: int = 0,
    task: str | None = None,
    task_data: str | Path | None = None,
    seeds: int | None = None,
    settings: Given = None,
    keep_model: bool = True,
    plugin: str | Path | None = None,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Fine-tune the model of `run` in the directory `out`; returns the run, whose record has the score.

    run         a pre-training run, or the path of one or of a saved model
    data        a labelled file; `text` and `label` name its columns, and `kind` is single, multi, regression, tokens or
                questions: all are found from the file if they are not given. `validation` and `test` are further files;
                without `validation` a part of `data` is held out by `split_seed`
    task        or a known task: cola, boolq, squad, ...; `task_data` is the folder of tasks, or "hub"
    seeds       fine-tune with seeds 1 to N, each in its own folder of `out`; the record is then their summary
    settings    a file of settings, or nested dictionaries such as {"finetuning": {"epochs": 3}}
    keep_model  whether the fine-tuned model is kept, and not its scores and predictions alone
    keywords    single settings of [finetuning] by their names: epochs=3, learning_rate=3e-5, loss="balanced"
    """
    load_plugin(plugin)
    chosen = request(keywords, ("finetuning",), settings=settings).settings
    own: dict[str, Any] = {"text": lists.names(text), "label": lists.names(label), "kind": kind}
    own |= {"validation": validation, "test": test, "split_seed": split_seed or None}
    own = {key: value for key, value in own.items() if value}
    how: dict[str, Any] = {"seeds": seeds, "keep_model": keep_model, "quiet": quiet}
    if data is not None:
        if task or task_data:
            raise ValueError("--data and --task: give one of them, your own file or a known task")
        if not isinstance(data, str | os.PathLike):
            raise ValueError(f"data is a {type(data).__name__}: give the path of a labelled file")
        finetune_own(Path(run), data, out, chosen, **own, **how)
    else:
        if task is None or task_data is None:
            raise ValueError("what to learn is missing: give --data FILE, or --task NAME and --task-data DIR")
        if own:
            raise ValueError(f"--{next(iter(own)).replace('_', '-')} is an option of --data FILE: leave it out")
        finetune_task(Path(run), task, task_data, out, chosen, **how)
    return Run(out)

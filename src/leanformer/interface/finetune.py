"""`leanformer.finetune`: fine-tunes a trained model on a labelled task."""

from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.finetuning.finetune import finetune as tune
from leanformer.interface.run import Run
from leanformer.interface.settings import Given, settings_of


def finetune(
    run: Any,
    *,
    task: str,
    task_data: str | Path,
    out: str | Path,
    seeds: int | None = None,
    settings: Given = None,
    keep_model: bool = True,
    plugin: str | Path | None = None,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Fine-tune the model of `run` on `task` in the directory `out`; returns the run, whose record has the score.

    run         a pre-training run, or the path of one or of a saved model
    task        cola, boolq, squad, ..., or a task that a plug-in registers; task_data is the folder of tasks, or "hub"
    seeds       fine-tune with seeds 1 to N, each in its own folder of `out`; the record is then their summary
    settings    a file of settings, or nested dictionaries such as {"finetuning": {"epochs": 3}}
    keep_model  whether the fine-tuned model is kept, and not its scores and predictions alone
    keywords    single settings of [finetuning] by their names: epochs=3, learning_rate=3e-5, sparse={"sparsity": 0.9}
    """
    if plugin is not None:
        load_plugin(plugin)
    chosen = settings_of(settings, keywords, ("finetuning",))
    tune(Path(run), task, task_data, out, chosen, seeds=seeds, keep_model=keep_model, quiet=quiet)
    return Run(out)

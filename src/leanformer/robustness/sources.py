"""The pre-trained models of a study: those of a comparison at their chosen learning rate, or single runs."""

from pathlib import Path

from leanformer.reporting.records import sweep
from leanformer.reporting.records.objective_words import MASKED_LM
from leanformer.reporting.records.runs import Run, read_run
from leanformer.reporting.records.study import DEFAULT_BASELINE, Study, read_study


def read_sources(paths: list[Path]) -> Study:
    """Reads one comparison directory, or run directories. Raises ValueError or FileNotFoundError if they cannot be
    fine-tuned."""
    study = read_study(paths[0]) if len(paths) == 1 else _listed(paths)
    if study.wording is not MASKED_LM:
        raise ValueError(f"{paths[0]} holds {study.wording.model}, only masked language models are fine-tuned")
    if not any(study.at(name) for name in study.attention):
        raise ValueError(f"{paths[0]}: no run has finished: pre-train first")
    return study


def _listed(paths: list[Path]) -> Study:
    runs: list[Run] = []
    root = Path(Path.cwd().anchor)
    for path in paths:
        if not (path / "run.json").is_file():
            raise FileNotFoundError(f"{path} holds no run (run.json): give run directories, or one comparison")
        run = read_run(root, path.absolute().relative_to(root).as_posix())
        if run.record.get("kind", "pretrain") != "pretrain" or run.status != "finished":
            raise ValueError(f"{path} is no finished pre-training ({run.record.get('kind', 'pretrain')}, {run.status})")
        if any((run.attention, run.seed) == (other.attention, other.seed) for other in runs):
            raise ValueError(f"{path} is {run.attention} with seed {run.seed} once more: a seed counts once")
        runs.append(run)
    attention = tuple(dict.fromkeys(run.attention for run in runs))
    baseline = DEFAULT_BASELINE if DEFAULT_BASELINE in attention else attention[0]
    rates = {name: sweep.rates(runs, name) for name in attention}
    return Study(root, {}, attention, baseline, tuple(runs), rates, ())

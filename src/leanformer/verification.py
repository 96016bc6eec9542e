"""Whether everything below a directory is what was written: the function behind `leanformer verify`.

Every record is read through its schema, with its checksum; every file that has a sum is read whole. Data, runs,
comparisons and other studies, models: whatever is found below PATH is checked as what it is.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from leanformer import files
from leanformer.data.corpus import RECORD as DATA
from leanformer.data.corpus import Corpus, read_record
from leanformer.data.pairs import PairCorpus
from leanformer.models import saved
from leanformer.models.sentence_parts import MODULES
from leanformer.records import reading, studies
from leanformer.records.models import Config
from leanformer.records.run import CurveLine, Line, Pretraining
from leanformer.records.scores import read_losses
from leanformer.training.run import checkpoint
from leanformer.training.run.curve import require_prefix
from leanformer.training.run.record import RunDirectory

REMEDY = "restore it, or make it again"
STUDIES = ("robustness.json", "reproduction.json")


class Verified(NamedTuple):
    checked: dict[str, int]
    """How many of each kind were looked at."""
    faults: list[str]
    """A line for each that is not what was written."""


def verify(path: str | Path) -> Verified:
    """FileNotFoundError if there is nothing at `path` that can be checked."""
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such directory; give one of data, a run, a comparison or a model")
    checked: dict[str, int] = {}
    faults: list[str] = []
    for kind, place, check in _found(root):
        checked[kind] = checked.get(kind, 0) + 1
        try:
            check(place)
        except (ValueError, OSError) as error:
            fault = " ".join(str(error).split())
            if fault not in faults:
                faults.append(fault)
    if not checked:
        raise FileNotFoundError(f"{root} holds neither data nor a run, a comparison or a model: check the path")
    return Verified(checked, faults)


def _found(root: Path) -> Iterator[tuple[str, Path, Callable[[Path], Any]]]:
    """(kind, place, how it is checked) of all that is below `root`, hidden folders left out."""
    yield from _in(root)
    for folder in sorted(p for p in root.rglob("[!.]*") if p.is_dir() and not p.is_symlink()):
        if not any(part.startswith(".") for part in folder.relative_to(root).parts):
            yield from _in(folder)


def _in(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], Any]]]:
    if (folder / DATA).is_file():
        yield "data", folder, _data
    if (folder / "run.json").is_file():
        yield "run", folder, _run
    if (folder / "comparison.json").is_file():
        yield "comparison", folder, _comparison
    for name in STUDIES:
        if (folder / name).is_file():
            yield "study", folder / name, lambda file: reading.read(file, studies.Study, REMEDY)
    if (folder / checkpoint.STATE).is_file():
        yield "checkpoint", folder, _checkpoint
    if (folder / "config.json").is_file():
        yield "part of a model" if (folder.parent / MODULES).is_file() else "model", folder, _model
    for file in sorted(folder.glob("*.jsonl")):
        if (folder / "run.json").is_file():
            yield "lines", file, _lines


def _data(folder: Path) -> None:
    kind = PairCorpus if read_record(folder).get("kind") == "pairs" else Corpus
    kind.open(folder, verify=True)


def _run(folder: Path) -> None:
    run = RunDirectory(folder)
    record = run.read()
    if record.get("kind") == "pretrain":
        record = run.read(Pretraining)
    finished = record.get("kind") == "pretrain" and record.get("status") == "finished"
    if finished and not record.get("model_discarded") and not run.model.is_dir():
        raise FileNotFoundError(f"{run.model} is missing, though {run.record} says finished: {REMEDY}")
    if (recorded := record.get("curve_sha256")) and files.sha256(run.curve) != recorded:
        raise ValueError(f"{run.curve} is not the curve that {run.record} was finished with: {REMEDY}")
    finished_scores = {"folder": run.scores.name, "scores": (record.get("results") or {}).get("scores") or {}}
    for point in [*(record.get("scores_at") or []), finished_scores]:
        for part, score in point["scores"].items():
            read_losses(run.path / point["folder"] / f"{part}.npz", score["sha256"], REMEDY)


def _comparison(folder: Path) -> None:
    file = folder / "comparison.json"
    reading.read(file, studies.Comparison, REMEDY)
    reading.read(file, studies.ContinuedComparison, REMEDY)
    if (plan := folder / "plan.json").is_file():
        reading.read(plan, studies.WrittenPlan, REMEDY)


def _checkpoint(folder: Path) -> None:
    checkpoint.verify(folder, REMEDY)
    state = checkpoint.read_state(folder, REMEDY)
    require_prefix(RunDirectory(folder.parents[1]).curve, state["curve_bytes"], state["curve_sha256"])


def _model(folder: Path) -> None:
    saved.require_intact(folder)
    reading.read(folder / "config.json", Config, REMEDY)
    if not any(folder.glob("*.safetensors")):
        return  # an export as a graph, say
    for path in saved.weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a dict)
                    if not math.isfinite(float(file.get_tensor(name).double().sum())):
                        raise ValueError(f"{path}: {name} holds values that are no finite numbers: {REMEDY}")
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): {REMEDY}") from None


def _lines(file: Path) -> None:
    schema = CurveLine if file.name == "curve.jsonl" else Line
    for _ in reading.read_lines(file, schema, REMEDY):
        pass

"""The texts of a generation task, from a folder, in the splits train, valid and test.

    DIR/<task>/<split>.jsonl|.json|.csv|.tsv[.xz|.gz|.bz2] or .parquet        (or DIR/<the task's folder>/...)

If a task is published without its training split, the groups of all published examples (a dialogue is a group) are put
in the order of `permutation(., seed 0, epoch 0)`; the first tenth is for validation, the second for the test, the rest
for training.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leanformer.data.generation_tasks import Example, GenerationTask
from leanformer.data.order import permutation
from leanformer.data.tables import SUFFIXES, find, read

TRAIN, VALID, TEST = "train", "valid", "test"
SEED, SHARE = 0, 10
"""The seed of a split made here; one group in SHARE is for validation, and one for the test."""


class PairTexts(NamedTuple):
    splits: dict[str, list[Example]]
    """train, valid, and the test splits by their own names."""
    made: str
    """The origin of the splits, in words."""


def read_pairs(task: GenerationTask, where: str | Path) -> PairTexts:
    """Returns the texts of a task from the folder `where`; missing test splits are left out.

    Raises a one-line FileNotFoundError or ValueError for a missing or empty split, or a row that lacks a column.
    """
    folder = _folder(task, Path(where))
    published = {split: _read(task, path) for split in task.files if (path := find(folder, split))}
    for split in (task.train, task.validation):
        if split is not None and split not in published:
            raise FileNotFoundError(
                f"no file {folder / split} with ending {', '.join(SUFFIXES)}: fetch the {split} split"
            )
    if task.train is not None:
        ours = {task.train: TRAIN, task.validation: VALID}
        return PairTexts({ours.get(split, split): examples for split, examples in published.items()}, "as published")
    return _split([example for examples in published.values() for example in examples], " and ".join(published))


def _folder(task: GenerationTask, where: Path) -> Path:
    folders = [where / name for name in dict.fromkeys((task.name, task.folder or task.name))]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        named = " nor ".join(map(str, folders))
        raise FileNotFoundError(f"{named}: no such folder; the task data are a folder that holds one folder per task")
    return found


def _read(task: GenerationTask, path: Path) -> list[Example]:
    """Returns the examples of a file, without those that lack a text."""
    place = str(path)

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal place
        for at, row in read(path):
            place = at
            yield row

    try:
        examples = [e for e in task.read(rows()) if e.source.strip() and any(r.strip() for r in e.references)]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{place}: its columns are not those of {task.name} ({error!r}): mend or fetch the file"
        ) from None
    if not examples:
        raise ValueError(f"{path} holds no example of {task.name}: fetch the file again")
    return examples


def _split(examples: Sequence[Example], source: str) -> PairTexts:
    groups = list(dict.fromkeys(example.group for example in examples))
    held = len(groups) // SHARE
    if not held:
        raise ValueError(f"{len(groups)} groups of examples are too few to split: at least {SHARE} are needed")
    order = permutation(np.arange(len(groups)), len(groups), seed=SEED, epoch=0)
    parts = {VALID: order[:held], TEST: order[held : 2 * held], TRAIN: order[2 * held :]}
    split_of = {groups[i]: split for split, members in parts.items() for i in members}
    splits: dict[str, list[Example]] = {TRAIN: [], VALID: [], TEST: []}
    for example in examples:
        splits[split_of[example.group]].append(example)
    made = (
        f"no training split is published: the {len(groups):,} dialogues of {source}, shuffled with seed {SEED}, were "
        f"split into {len(parts[TRAIN]):,} to train, {held:,} to validate and {held:,} to test on; scores on them are "
        "not those of the published splits"
    )
    return PairTexts(splits, made)

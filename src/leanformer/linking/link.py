"""Encoders side by side on one entity-linking task: the function behind `leanformer link`.

    OUT/runs/ENCODER/seed-S/                a run (`runs.py`)
    OUT/results.json, report.md, report.html

The same command goes on where it was stopped; one that asks for more encoders or seeds does the rest.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from leanformer.linking.contents import contents
from leanformer.linking.dictionary import read_dictionary
from leanformer.linking.encoders import RESCNN, TFIDF, Spec, lend, specs
from leanformer.linking.mentions import TRAIN, asked, earlier, find_file, learned, read_mentions
from leanformer.linking.results import results
from leanformer.linking.runs import LinkingJob, Question, run
from leanformer.linking.settings import Linking, LinkingSettings
from leanformer.locks import claimed
from leanformer.reporting.write import write_document

DICTIONARY = "dictionary"


def link(
    encoders: Sequence[str],
    data: str | Path,
    out: str | Path,
    settings: Linking | None = None,
    *,
    dictionary: str | Path | None = None,
    split: str = "test",
    seeds: int = 1,
    keep_model: bool = True,
    command: str = "",
    dry_run: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train and score the encoders (see `encoders.py`) on the mentions in the folder `data`; returns results.json.

    `dictionary` is its file, else the one in `data` or in the folder above. A finished run is kept; another one in its
    place is a FileExistsError. ValueError or OSError of one line for what cannot be read or makes no sense.
    """
    chosen, settings, console = specs(encoders), settings or Linking(), Console(quiet=quiet, highlight=False)
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least one is needed")
    question = gather(Path(data), settings.protocol, None if dictionary is None else Path(dictionary), split)
    for note in question.record["notes"]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for spec in chosen:
        if spec.source is not None:
            lend(spec.source, of_kind(settings, spec))
    jobs = [job(Path(out), spec, settings, seed) for spec in chosen for seed in seeds_of(spec, settings, seeds)]
    if dry_run:
        for each in jobs:
            console.print(f"{each.name}: {_steps(each, question):,} steps", markup=False)
        return {}
    with claimed(Path(out)):
        records = []
        for number, each in enumerate(sorted(jobs, key=lambda each: each.seed), 1):
            record = run(each, question, keep_model=keep_model, quiet=quiet)
            records.append(record)
            said = f"accuracy@1 {100 * record['results']['accuracy@1']:.1f}"
            console.print(f"[{number}/{len(jobs)}] {each.name}: {said}", markup=False, soft_wrap=True)
        found = results(records, [spec.name for spec in chosen], command)
        write_document(contents(found), found, Path(out))
        console.print(f"report: {Path(out) / 'report.html'}")
        return found


def job(out: Path, spec: Spec, settings: Linking, seed: int) -> LinkingJob:
    folder = out / "runs" / spec.name / f"seed-{seed}"
    own = of_kind(settings, spec)
    return LinkingJob(name=f"{spec.name}, seed {seed}", directory=folder, spec=spec, settings=own, seed=seed)


def gather(data: Path, protocol: LinkingSettings, dictionary: Path | None, split: str) -> Question:
    """What the files hold, checked: mistakes are found before the first run."""
    splits = earlier(split, protocol.train_on)
    names = read_dictionary(dictionary or find_file(data, DICTIONARY, data.parent))
    scored = read_mentions(find_file(data, split))
    mentions = asked(scored, names, protocol)
    read = [mention for each in splits for mention in read_mentions(find_file(data, each))]
    train = learned(read, names)
    if not train:
        raise ValueError(f"{data}: no mention of the {TRAIN} split has one part and one id of the dictionary")
    if protocol.join:
        names = names.with_mentions(train)
    texts = json.dumps([names.hash, [(m.parts, m.gold) for m in mentions], train])
    return Question(
        names,
        mentions,
        train,
        {
            "path": str(data),
            "split": split,
            "train": list(splits),
            "hash": hashlib.sha256(texts.encode()).hexdigest(),
            "concepts": len(names.ids),
            "names": len(names.meanings),
            "joined": protocol.join,
            "mentions": len(mentions),
            "left_out": len(scored) - len(mentions),
            "composite": sum(mention.composite for mention in mentions),
            "learned": len(train),
            "not_learned": len(read) - len(train),
            "notes": _notes(split, len(scored), len(mentions), len(read), len(train)),
        },
    )


def _notes(split: str, scored: int, kept: int, read: int, learned: int) -> list[str]:
    """What a reader of the accuracies must know of the data."""
    notes = []
    if kept < scored:
        notes.append(f"{scored - kept:,} of the {scored:,} {split} mentions are left out of the score")
    if learned < read:
        notes.append(
            f"{read - learned:,} of the {read:,} mentions before are not learned from: of several parts or ids, or of "
            "an id that is not in the dictionary"
        )
    return notes


def of_kind(settings: Linking, spec: Spec) -> LinkingSettings:
    """Returns the settings of the encoder; one that learns nothing has only what is asked."""
    return settings.untrained if spec.kind == TFIDF else settings.of(spec.kind)


def seeds_of(spec: Spec, settings: Linking, seeds: int) -> range:
    """An encoder that nothing is drawn for is run once."""
    drawn = spec.kind == RESCNN or (spec.kind != TFIDF and of_kind(settings, spec).epochs > 0)
    return range(1, (seeds if drawn else 1) + 1)


def _steps(job: LinkingJob, question: Question) -> int:
    if job.spec.kind == TFIDF:
        return 0
    distinct = len(set(question.train))
    return math.ceil(job.settings.epochs * distinct / min(job.settings.batch_size, distinct))

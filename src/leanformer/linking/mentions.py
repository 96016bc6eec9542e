"""Mentions with the ids of what they mean, and the splits they come in.

    {"mention": "colorectal cancer|endometrial cancer", "gold": ["D015179", "D016889"]}     a line each, other columns
                                                                                            are left alone

A mention of several parts joins them by `|`; an entry `A+B` of `gold` means both. Which part means which id is not
said, since annotations do not keep to the order of the parts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leanformer.data import tables
from leanformer.linking.dictionary import SUFFIXES, Dictionary, json_rows, texts
from leanformer.linking.settings import LinkingSettings
from leanformer.spelling import suggest

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
SCORED = (VALIDATION, TEST)


@dataclass(frozen=True)
class Mention:
    place: str
    """File and line."""
    parts: tuple[str, ...]
    gold: tuple[str, ...]
    """Ids, each once."""

    @property
    def composite(self) -> bool:
        return len(self.parts) > 1 or len(self.gold) > 1


def read_mentions(path: Path) -> list[Mention]:
    """Raises ValueError with file and line for a mention without text or without an id."""
    found = []
    for place, row in json_rows(path):
        (text,) = texts(row, "mention", place, one=True)
        parts = tuple(part.strip() for part in text.split("|"))
        if not all(parts):
            raise ValueError(f"{place}: mention {text!r} has an empty part: fill it in or drop the row")
        entries = [id.strip() for entry in texts(row, "gold", place) for id in re.split(r"[+|]", entry)]
        if not entries or not all(entries):
            raise ValueError(f"{place}: gold {row['gold']!r} holds an empty id or none: fill it in or drop the row")
        found.append(Mention(place, parts, tuple(dict.fromkeys(entries))))
    if not found:
        raise ValueError(f"{path} is empty: a split needs rows with mention and gold")
    return found


def asked(mentions: Sequence[Mention], dictionary: Dictionary, settings: LinkingSettings) -> list[Mention]:
    """Returns the mentions that are scored; raises ValueError for one whose ids the dictionary lacks, unless that is
    said to be no matter."""
    kept = []
    for mention in mentions:
        if mention.composite and settings.composites == "skip":
            continue
        lost = [id for id in mention.gold if id not in dictionary.holding]
        if lost and settings.missing == "refuse":
            raise ValueError(
                f"{mention.place}: {lost[0]} is not in the dictionary: add it, or choose with "
                "--set linking.missing=wrong (or skip) how such mentions count"
            )
        if len(lost) == len(mention.gold) and settings.missing == "skip":
            continue
        kept.append(mention)
    if not kept:
        raise ValueError(f"no mention is left to score: linking.composites = {settings.composites!r} leaves all out")
    return kept


def learned(mentions: Sequence[Mention], dictionary: Dictionary) -> list[tuple[str, str]]:
    """Returns (text, id) of the mentions that can be learned from: one part, one id, and the dictionary has it."""
    simple = [mention for mention in mentions if not mention.composite and mention.gold[0] in dictionary.holding]
    return [(mention.parts[0], mention.gold[0]) for mention in simple]


def earlier(split: str, train_on: str) -> tuple[str, ...]:
    """The splits to train on where `split` is scored."""
    if split not in SCORED:
        raise ValueError(f"--split {split}: {suggest(split, SCORED)}")
    return SPLITS[: SPLITS.index(split)] if train_on == "earlier" else (TRAIN,)


def find_file(folder: Path, name: str, *more: Path) -> Path:
    """The one file of rows called so in the folder, or in one of the others."""
    for place in (folder, *more):
        if found := tables.find(place, name, SUFFIXES):
            return found
    beside = f", nor in {more[0]}" if more else ""
    raise FileNotFoundError(f"no {name}.jsonl (.xz, .gz, .bz2) in {folder}{beside}: see docs/entity-linking.md")

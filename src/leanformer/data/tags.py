"""Tags of words, and the entities that they mark.

    IOB1    O I-LOC I-LOC B-LOC    B- begins an entity only right behind another one of its type
    IOB2    O B-LOC I-LOC B-LOC    B- begins every entity
    BIOES   O B-LOC E-LOC S-LOC    E- ends an entity, S- is one of a single word (BILOU: L- and U-)

All are read by one rule, that of the CoNLL shared tasks (Tjong Kim Sang & De Meulder, 2003, `conlleval`). A word with
tag p-t begins an entity of type t if p is B, S or U, or if the word before it is outside, ends an entity by E, L,
S or U, or has another type. So a prediction such as `O I-LOC` is an entity, too.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"
PREFIXES = ("B", "I", "E", "S", "L", "U")
BEGINS, ENDS = ("B", "S", "U"), ("E", "L", "S", "U")


class Entity(NamedTuple):
    """An entity of the words `first` to `end` - 1."""

    first: int
    end: int
    label: str


def entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of a sequence of tags, in order."""
    found: list[Entity] = []
    before, kind = OUTSIDE, ""
    for i, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if tag != OUTSIDE:
            if prefix in BEGINS or before == OUTSIDE or before in ENDS or label != kind:
                found.append(Entity(i, i + 1, label))
            else:
                found[-1] = found[-1]._replace(end=i + 1)
        before, kind = prefix, label
    return found


def iob2(length: int, marked: Iterable[Entity]) -> list[str]:
    """Returns the tags of `length` words of which `marked` are entities."""
    tags = [OUTSIDE] * length
    for first, end, label in marked:
        tags[first:end] = [f"B-{label}", *[f"I-{label}"] * (end - first - 1)]
    return tags


def without_prefix(sequences: Sequence[Sequence[str]]) -> str | None:
    """Returns a tag without a prefix, if other tags have one; None if all have one or none has."""
    known = {tag for tags in sequences for tag in tags} - {OUTSIDE}
    bare = sorted(tag for tag in known if not _prefixed(tag))
    return bare[0] if bare and len(bare) < len(known) else None


def normalised(sequences: Sequence[Sequence[str]], *, mark_entities: bool = False) -> list[list[str]] | None:
    """Returns the sequences in IOB2, None if the tags mark no entities but are classes of words (parts of speech).

    Tags without prefixes are taken as IO, so that equal neighbours are one entity, if some are `O` or if it is known
    that the tags mark entities. Raises ValueError if only a part of the tags has prefixes.
    """
    if (odd := without_prefix(sequences)) is not None:
        raise ValueError(f"tag {odd!r} has no prefix, but others have: write all as O, B-TYPE and I-TYPE")
    if not any(_prefixed(tag) for tags in sequences for tag in tags):
        if not mark_entities and not any(OUTSIDE in tags for tags in sequences):
            return None
        sequences = [[tag if tag == OUTSIDE else f"I-{tag}" for tag in tags] for tags in sequences]
    return [iob2(len(tags), entities(tags)) for tags in sequences]


def _prefixed(tag: str) -> bool:
    return tag[:1] in PREFIXES and tag[1:2] == "-" and len(tag) > 2

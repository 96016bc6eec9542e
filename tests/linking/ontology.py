"""A made-up ontology: 48 ailments with four names each, and mentions with typing errors. Nothing is from a corpus.

acute renal failure      its name          failure renal acute     its words swapped
acute renal failures     its plural        acrefa                  an abbreviation
"""

import json
from itertools import product
from pathlib import Path

from leanformer.data.randomness import below, random_bits

SEVERITIES = ("acute", "chronic", "familial", "benign")
PLACES = ("renal", "cardiac", "hepatic", "dermal")
KINDS = ("failure", "tumor", "atrophy")
CONCEPTS = [f"{severity} {place} {kind}" for severity, place, kind in product(SEVERITIES, PLACES, KINDS)]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def swapped(name: str) -> str:
    return " ".join(reversed(name.split()))


def plural(name: str) -> str:
    return name[:-1] + "ies" if name.endswith("y") else name + "s"


def abbreviation(name: str) -> str:
    return "".join(word[:2] for word in name.split())


def typo(name: str, number: int) -> str:
    """One letter of one word replaced, another one for every number."""
    letters = [i for i, letter in enumerate(name) if letter != " "]
    bits = random_bits(7, len(name), number, [0, 1])
    place, letter = letters[int(below(bits[0], len(letters)))], LETTERS[int(below(bits[1], 26))]
    return name[:place] + letter + name[place + 1 :]


def identifier(number: int) -> str:
    return f"M{number:03}"


def rows(path: Path, found: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def write(folder: Path) -> Path:
    """FOLDER/dictionary.jsonl and FOLDER/made/train, validation and test.jsonl; FOLDER/made is returned.

    Training shows typing errors in names, the test others, in swapped names too, which no training mention has.
    """
    made = folder / "made"
    made.mkdir(parents=True)
    entries = [
        {"id": identifier(i), "alt_ids": [f"{900 + i}"], "names": [name, swapped(name), plural(name)]}
        for i, name in enumerate(CONCEPTS)
    ]
    for entry, name in zip(entries, CONCEPTS, strict=True):
        entry["names"].append(abbreviation(name))
    rows(folder / "dictionary.jsonl", entries)

    def mentions(forms, first: int) -> list[dict]:
        return [
            {"mention": form(typo(name, 100 * i + first + j)), "gold": [identifier(i)], "doc_id": str(j)}
            for i, name in enumerate(CONCEPTS)
            for j, form in enumerate(forms)
        ]

    both = f"{CONCEPTS[0]}|{typo(CONCEPTS[1], 5)}"
    composite = {"mention": both, "gold": [identifier(1), identifier(0)], "doc_id": "9"}
    rows(made / "train.jsonl", [*mentions([str, plural, str], 0), composite])
    rows(made / "validation.jsonl", mentions([str], 50))
    rows(made / "test.jsonl", [*mentions([str, swapped], 70), composite])
    return made

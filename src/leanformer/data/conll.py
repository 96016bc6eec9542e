"""The reader of CoNLL files: one word per line, the word in the first column and its tag in the last.

    EU      NNP  B-ORG        columns are separated by tabs, or else by spaces; a file of tabs may have spaces in words
    rejects VBZ  O
                              a blank line ends a sentence
    -DOCSTART- -X- O          a line that begins so is left out, as are comments before a sentence, `# text = ...`

A row is {"tokens": [...], "tags": [...]} of one sentence. Suffixes: .conll, .iob, .iob2, .bio and .bioes, in any
case, also compressed. Errors are one-line ValueErrors with file and line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanformer.data.decoding import decoded, lines

SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".bioes")
DOCUMENT = "-DOCSTART-"
COMMENT = re.compile(r"# ?\w+ ?=")


def read(path: Path, *, tagged: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) of every sentence; without `tagged`, a line may be a word alone."""
    tokens: list[str] = []
    tags: list[str] = []
    begin = 1
    for number, line in enumerate(lines(decoded(path)), 1):
        if not line.strip() or line.startswith(DOCUMENT):
            if tokens:
                yield f"{path}, line {begin}", {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        if not tokens and COMMENT.match(line):
            continue
        cells = [cell.strip() for cell in line.strip().split("\t")] if "\t" in line.strip() else line.split()
        if tagged and (len(cells) < 2 or not cells[-1]):
            raise ValueError(f"{path}, line {number}: one column, but a word and its tag are expected: add the tag")
        if not tokens:
            begin = number
        tokens.append(cells[0])
        tags.append(cells[-1])
    if tokens:
        yield f"{path}, line {begin}", {"tokens": tokens, "tags": tags}

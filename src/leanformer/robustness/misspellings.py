"""A table of misspellings: a line a word, the word and then what people have written for it, separated by spaces.

    believe beleive belive

The file may be compressed (.xz, .gz, .bz2).
"""

from pathlib import Path

from leanformer.data.decoding import decoded, lines
from leanformer.robustness.noise import Misspellings


def read_misspellings(path: Path) -> Misspellings:
    """Returns the misspellings of each word. Raises FileNotFoundError, or ValueError with the line of a word without
    any."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; --misspellings takes a table with a line a word: believe beleive"
        )
    table: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines(decoded(path)), 1):
        if not line.strip():
            continue
        word, *written = line.split()
        if not written:
            raise ValueError(f"{path}, line {number}: {word!r} has no misspelling beside it: add one, or drop the line")
        if wrong := [spelling for spelling in written if spelling != word]:
            table[word] = tuple(dict.fromkeys((*table.get(word, ()), *wrong)))
    if not table:
        raise ValueError(f"{path} is empty: a line is a word and its misspellings")
    return table

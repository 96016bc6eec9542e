"""The numbers on a page, and the comments beside them that say which field of a record each one is.

    `symmetric` ends 0.144 nats behind (0.122 to 0.167), `shared` 0.573. <!-- direction symmetric; direction shared -->

A comment holds a reference (`records.py`) for each number between it and the comment before, in their order; a number
with its spread (1.45 ± 0.02) or its interval ([a, b], or (a to b)) is one. It stands in the same paragraph, bullet or
row of a table. One comment above a table holds a reference for each number in a row, where ARM is the row's arm: the
first words in `code`, or a comment in the first cell.

These are exempt: numbers in code and links, in names (SST-2, bf16, BERT-base), years, numbers in words, and settings,
recognised by the unit beside them (`SETTINGS`). A reference `setting` or `published` exempts one number that no rule
recognises: a size or an aim of the study, a figure quoted from a paper.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

EXEMPTED = ("setting", "published")
NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?"
INTERVAL = rf"[\[(](?:_ )?(?P<low>{NUMBER}) ?%?(?:, | to )(?P<high>{NUMBER}) ?%?[\])]"
QUOTE = re.compile(
    rf"(?P<below>< ?)?(?<![\w.])(?P<point>{NUMBER})(?!\w)(?: ± (?P<sd>{NUMBER}))?"
    rf"(?:(?:,? %)?(?: [a-zA-Z_'’-]+){{0,6}},? {INTERVAL})?"
)
AMOUNT = rf"(?<![\w.]){NUMBER}"
COUNTED = "cores|seeds|examples|dialogues|reviews|phrases|epochs|positions|pairs|heads?|beams"
SETTINGS = [
    r"\b\d+ x \d+",
    rf"{AMOUNT} (?:\+ \d+ )?layers?(?: of {NUMBER})?(?: and of {NUMBER})?",
    r"(?:width|length|batch|at|rank|rate|ratio|every) \d[\d,]*(?![\d.]*\d| of| %| nats| points| times)",
    r"(?:50|90|95|99) % of (?:the way|what)",
    r"(?:for|to|and) (?:50|90|95|99) %",
    rf"{AMOUNT}(?: and {NUMBER})?(?: M| thousand)? (?:tokens|word pieces|byte-level pieces|pieces|characters)",
    rf"(?:vocabulary|heads|steps|sequences|sources) (?:of )?{NUMBER}",
    rf"{AMOUNT} (?:CPU )?(?:{COUNTED})",
    r"\d(?:\.\d+)?e-\d+",
    r"N\(0, \d\)|\b1/sqrt\(K\)|\bx 100\b|\b95 % (?:CI|interval|bound)|dropout 0\.\d",
    r"\b(?:19|20)\d\d\b|\b\d{4}\.\d{5}\b",
    r"Python \d+\.\d+|[A-Za-z_@]+[-/'’]?\d[\w.,-]*\b|\b\d+[A-Za-z]\w*|\b\d+-[a-z]+",
]
"""A size, a budget, a goal of the way, a learning rate, a start, a year or a number at arXiv, a name."""
COMMENT = re.compile(r"<!-- (.*?) -->", re.DOTALL)
HIDDEN = [r"`[^`]*`", r"\]\([^)]*\)", r"https?://\S+"]


@dataclass(frozen=True)
class Quote:
    """A number as it is written, with its spread and interval; `reference` says what it is, None if nothing does."""

    text: str
    point: str
    sd: str | None
    low: str | None
    high: str | None
    below: bool
    line: int = 0
    reference: str | None = None


def tied(page: str, tables: bool = True) -> Iterator[Quote]:
    """Every number that is not exempt, with its reference. Raises ValueError for a comment that does not fit."""
    for line, block in _blocks(page):
        if not tables and block.startswith("|"):
            continue
        if re.match(r"(?:<!-- table: .*? -->\n)?\s*\|", block, re.DOTALL):
            yield from _table(line, block)
            continue
        start = 0
        for comment in COMMENT.finditer(block):
            yield from _paired(block[start : comment.start()], comment[1].split(";"), line)
            start = comment.end()
        yield from _paired(block[start:], [], line)


def _blocks(page: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, bullets and tables, with the number of their first line; code is left out."""
    page = re.sub(r"^```.*?^```", lambda found: "\n" * found[0].count("\n"), page, flags=re.DOTALL | re.MULTILINE)
    block: list[str] = []
    start, above = 1, ""
    for number, line in enumerate([*page.splitlines(), ""], 1):
        text = line.strip()
        in_table = bool(block) and block[-1].lstrip().startswith("|")
        ends = not text or re.match(r"[-*] |#", text) or text.startswith("|") != in_table
        if block and ends:
            joined = "\n".join(block)
            if re.fullmatch(r"<!-- table: .*-->", joined.strip(), re.DOTALL):
                above = joined.strip()
            else:
                yield start, f"{above}\n{joined}" if above and joined.lstrip()[0] == "|" else joined
                above = ""
            block = []
        if text and not (line.startswith("    ") and not block):
            start = start if block else number
            block.append(line)


def _table(line: int, block: str) -> Iterator[Quote]:
    above = re.match(r"<!-- table: (.*?) -->\n", block, re.DOTALL)
    columns = above[1].split(";") if above else []
    rows = block[above.end() if above else 0 :].splitlines()
    for number, row in enumerate(rows, line):
        if re.fullmatch(r"[\s|:-]+", row):
            continue
        first = row.split("|")[1]
        arm = COMMENT.search(first) or re.search(r"`([^`]*)`", first)
        own = COMMENT.search(row.replace(first, "", 1))
        if own:
            yield from _paired(row[: row.rindex("<!--")], own[1].split(";"), number)
        elif arm and columns and not row.startswith(rows[0]):
            yield from _row(row, [column.replace("ARM", arm[1]) for column in columns], number)
        else:
            yield from _paired(row, [], number)


def _row(row: str, columns: list[str], line: int) -> Iterator[Quote]:
    """A reference for each of the cells after the first: one that is empty, or holds no number, takes its reference."""
    _, first, *cells, _ = COMMENT.sub("", row).split("|")
    yield from _paired(first, [], line)
    for cell, reference in zip(cells, columns, strict=False):
        yield from _paired(cell, [reference] if quotes(cell) else [], line)
    for cell in cells[len(columns) :]:
        yield from _paired(cell, [], line)


def _paired(text: str, references: list[str], line: int) -> Iterator[Quote]:
    found = quotes(text)
    names = [" ".join(reference.split()) for reference in references]
    if names and len(names) != len(found):
        listed = ", ".join(quote.text for quote in found)
        raise ValueError(
            f"line {line}: {len(names)} references for {len(found)} numbers ({listed}): {'; '.join(names)}"
        )
    for quote, name in zip(found, names or [None] * len(found), strict=True):
        yield Quote(**{**vars(quote), "line": line, "reference": name})


def quotes(text: str) -> list[Quote]:
    """The numbers that are not exempt."""
    text = COMMENT.sub(" ", text).replace("\n", " ").replace("**", "").replace("\\", "")
    for hidden in HIDDEN:
        text = re.sub(hidden, "_", text)
    text = re.sub(" +", " ", text)
    for setting in SETTINGS:
        text = re.sub(setting, "_", text)
    return [
        Quote(found[0].strip(), found["point"], found["sd"], found["low"], found["high"], bool(found["below"]))
        for found in QUOTE.finditer(text)
    ]

"""Text that others wrote, made safe for Markdown, HTML and spreadsheets: nothing in it is markup or a formula.

Labels, paths, settings and names of tasks come from users, records and plug-ins. Whatever is put into a page goes
through one of these functions.
"""

import html as _html
import re
from typing import Any

LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
HIDDEN = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, marks that turn the direction of writing, and halves of characters, which no file can hold."""
MARKUP = re.compile(r"[\\`*<>|\[\]~&$]|(?<![^\W_])_|_(?![^\W_])")
OPENING = re.compile(r"^(?=(?:#{1,6}|[-+])(?:\s|$)|[-=]+$)|^(\d+)(?=[.)](?:\s|$))")
"""What makes a heading, a list or a rule of a line that begins with it."""
FORMULA = "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"


def visible(text: str) -> str:
    """One line in which every character is seen: "a\\n\\x1b" -> "a \\\\x1b"."""
    return _spelt(LINE_BREAKS.sub(" ", text))


def markdown(text: str) -> str:
    """Plain text within a line of Markdown or a cell of a table."""
    escaped = MARKUP.sub(r"\\\g<0>", " ".join(visible(text).split()))
    return OPENING.sub(lambda found: f"{found[1] or ''}\\", escaped)


def code(text: str) -> str:
    """A code span, between more backticks than the text has in a row."""
    text = visible(text)
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    air = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{marks}{air}{text}{air}{marks}"


def fence(text: str) -> str:
    """A block of code; its lines are kept."""
    text = "\n".join(_spelt(line) for line in re.split(r"\r\n|[\n\v\f\r\x1c-\x1f\x85\u2028\u2029]", text))
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks}\n{text}\n{marks}"


def cell(markup: str) -> str:
    """Markdown within a cell of a table: a line, whose bars do not end the cell, not even within code."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\|", r"\1\\|", visible(markup))


def html(text: str) -> str:
    """Plain text within an element or a quoted attribute; its line breaks are kept."""
    return _html.escape("\n".join(_spelt(LINE_BREAKS.sub(" ", line)) for line in text.split("\n")))


def spreadsheet(value: Any) -> Any:
    """A cell of CSV. A number stays one; a text that a spreadsheet would run as a formula gets a ' before it."""
    if not isinstance(value, str):
        return value
    formula = value.lstrip()[:1] in tuple(FORMULA) or value[:1] in ("\t", "\r", "\n")
    return f"'{_spelt(value)}" if formula else _spelt(value)


def _spelt(text: str) -> str:
    return HIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\x80" else f"\\u{ord(found[0]):04x}", text)

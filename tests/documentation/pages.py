"""The commands of README and docs/*.md, in the order in which a reader meets them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = re.compile(r"(?:(?P<before>[^|]+)\| )?(?:\S*/)?leanformer (?P<arguments>[^>|]+)(?:> (?P<file>\S+))?")


@dataclass(frozen=True)
class Command:
    """One `leanformer ...` of a code block, without its comment; its lines that end with a backslash are joined."""

    page: str
    section: str
    """The heading of second rank above it, "" before the first one."""
    line: str

    @property
    def synopsis(self) -> bool:
        """Whether it has brackets of optional parts, so that it cannot run."""
        return "[-" in self.line

    def split(self) -> tuple[list[str], str, str]:
        """Returns its arguments, the shell's command before a pipe, and the file behind >, both "" without one."""
        found = SHELL.fullmatch(self.line)
        assert found, f"{self.page}: the test cannot read `{self.line}`"
        return shlex.split(found["arguments"]), (found["before"] or "").strip(), found["file"] or ""


def commands() -> list[Command]:
    return [
        Command(page.name, section, line)
        for page in PAGES
        for section, text in _sections(page.read_text(encoding="utf-8"))
        for line in _code(text)
        if re.match(r"(?:[^|]*\| )?(?:\S*/)?leanformer \S", line)
    ]


def sections() -> list[list[Command]]:
    """Returns the commands that stand in one section, for all sections: what one makes, the next ones read."""
    return [list(found) for _, found in groupby(commands(), key=lambda each: (each.page, each.section))]


def file_of(page: str, name: str) -> str | None:
    """Returns the Python block of the page whose first line is `# NAME`, None without one."""
    text = next(path for path in PAGES if path.name == page).read_text(encoding="utf-8")
    found = re.search(rf"```python\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    return found and found[1]


def _sections(text: str) -> Iterator[tuple[str, str]]:
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    yield "", first
    for part in others:
        heading, _, rest = part.partition("\n")
        yield heading, rest


def _code(text: str) -> Iterator[str]:
    """The lines of indented blocks, and of fenced ones in no language or the shell's; comments are cut off."""
    fence = None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fence = line.strip("` ") if fence is None else None
        elif fence in ("", "sh") or (fence is None and line.startswith("    ")):
            yield re.split(r"\s#\s", line)[0].strip()

"""`report.md`: the document as GitHub's Markdown; pictures are files beside it."""

import re

from leanformer.report.document import Block, Code, Document, Link, Paragraph, Points, Section, Table


def markdown(document: Document) -> str:
    facts = " · ".join(f"{_text(what)}: {_text(value)}" for what, value in document.facts)
    parts = [f"# {_text(document.title)}", f"**{_text(document.headline)}**", facts]
    parts += [_section(section) for section in document.sections]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    return "\n\n".join([f"## {_text(section.title)}", *map(_block, section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _text(block.text)
    if isinstance(block, Points):
        return "\n".join(f"- {_text(item)}" for item in block.items)
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Link):
        return f"[{_text(block.text)}]({block.target})"
    return f"![{_text(block.title)}](figures/{block.name}.svg)\n\n{_text(block.caption)}"


def _table(table: Table) -> str:
    rule = "|".join("---:" if letter == "r" else "---" for letter in table.align)
    lines = [_row(table.header), f"|{rule}|", *map(_row, table.rows)]
    return "\n".join(lines) + (f"\n\n{_text(table.caption)}" if table.caption else "")


def _row(cells) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(text: str) -> str:
    """Plain text, whatever a label holds: nothing in it is markup."""
    return re.sub(r"([\\`*<>|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))

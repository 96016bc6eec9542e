"""`report.md`: the document as GitHub Markdown, with pictures as files beside it."""

from leanformer import markup
from leanformer.reporting.render.document import Block, Code, Document, Link, Paragraph, Points, Section, Table


def markdown(document: Document) -> str:
    facts = " · ".join(f"{markup.markdown(what)}: {markup.markdown(value)}" for what, value in document.facts)
    parts = [f"# {markup.markdown(document.title)}", f"**{markup.markdown(document.headline)}**", facts]
    parts += [_section(section) for section in document.sections]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    return "\n\n".join([f"## {markup.markdown(section.title)}", *map(_block, section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return markup.markdown(block.text)
    if isinstance(block, Points):
        return "\n".join(f"- {markup.markdown(item)}" for item in block.items)
    if isinstance(block, Code):
        return markup.fence(block.text)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Link):
        return f"[{markup.markdown(block.text)}]({block.target})"
    return f"![{markup.markdown(block.title)}](figures/{block.name}.svg)\n\n{markup.markdown(block.caption)}"


def _table(table: Table) -> str:
    rule = "|".join("---:" if letter == "r" else "---" for letter in table.align)
    lines = [_row(table.header), f"|{rule}|", *map(_row, table.rows)]
    return "\n".join(lines) + (f"\n\n{markup.markdown(table.caption)}" if table.caption else "")


def _row(cells) -> str:
    return "| " + " | ".join(markup.markdown(cell) for cell in cells) + " |"

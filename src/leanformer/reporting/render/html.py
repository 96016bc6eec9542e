"""`report.html`: the document as one file without scripts, which loads nothing from elsewhere."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import get_args

from leanformer.markup import html as escape
from leanformer.reporting.numbers.statistics import Verdict
from leanformer.reporting.render import interval_plot, style
from leanformer.reporting.render.document import Block, Code, Document, Link, Paragraph, Points, Section, Table
from leanformer.reporting.render.style import Picture

VERDICTS = get_args(Verdict)
NO_BREAK = "&nbsp;"
MANY = 10
"""The number of columns above which headings are broken within a word, to fit on paper."""


def head(title: str, stylesheet: str) -> str:
    """Returns the start of a page up to its body, with the house's style and a stylesheet of this folder inside."""
    css = files(__package__).joinpath(stylesheet).read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style.css()}
{css}</style>
</head>"""


def html(document: Document) -> str:
    facts = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in document.facts)
    return f"""{head(document.title, "page.css")}
<body>
<main>
<header>
<p class="kicker">leanformer report</p>
<h1>{_breakable(document.title)}</h1>
<p class="headline">{_text(document.headline)}</p>
<dl class="facts">{facts}</dl>
</header>
{"".join(_section(section, document.series) for section in document.sections)}</main>
</body>
</html>
"""


def _section(section: Section, series: dict[str, int]) -> str:
    body = "".join(_block(block, series) for block in section.blocks)
    title = f"<h2>{escape(section.title)}</h2>"
    if section.folded:
        return f"<section><details><summary>{title}</summary>\n{body}</details></section>\n"
    return f"<section>\n{title}\n{body}</section>\n"


def _block(block: Block, series: dict[str, int]) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_text(block.text)}</p>\n"
    if isinstance(block, Points):
        return "<ul>\n" + "".join(_item(item, series) for item in block.items) + "</ul>\n"
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>\n"
    if isinstance(block, Table):
        return _table(block, series)
    if isinstance(block, Link):
        return f'<p><a href="{escape(block.target)}">{_text(block.text)}</a></p>\n'
    return _picture(block)


def _picture(picture: Picture) -> str:
    """Returns the picture twice, for a wide screen and for a phone, since they need different type sizes."""
    return (
        f'<figure id="{picture.name}">\n'
        f'<div class="wide" role="img" aria-label="{escape(picture.title)}">{style.inline(picture.wide)}</div>\n'
        f'<div class="narrow" role="img" aria-label="{escape(picture.title)}">{style.inline(picture.narrow)}</div>\n'
        f"<figcaption>{_text(picture.caption)}</figcaption>\n</figure>\n"
    )


def _table(table: Table, series: dict[str, int]) -> str:
    head = [f'<th scope="col"{_class(a)}>{escape(h)}</th>' for h, a in zip(table.header, table.align, strict=True)]
    rows = [_cells(row, table.align, series) for row in table.rows]
    if table.plot:
        head.insert(1, f'<th scope="col">{interval_plot.axis(table.plot)}</th>')
        for cells, drawn in zip(rows, interval_plot.rows(table.plot), strict=True):
            cells.insert(1, f"<td>{drawn}</td>")
    body = "".join(f"<tr>{''.join(cells)}</tr>\n" for cells in rows)
    caption = f'<p class="caption">{_text(table.caption)}</p>\n' if table.caption else ""
    markup = f"<table>\n<thead><tr>{''.join(head)}</tr></thead>\n<tbody>\n{body}</tbody></table>"
    columns = f"--columns: {len(head)}"
    many = " many" if len(head) > MANY else " plotted" if table.plot else ""
    return f'<div class="table{many}" tabindex="0" style="{columns}">{markup}</div>\n{caption}'


def _cells(row: Sequence[str], align: str, series: dict[str, int]) -> list[str]:
    out = []
    for i, (cell, letter) in enumerate(zip(row, align, strict=True)):
        text = _swatch(series[cell]) + _breakable(cell) if cell in series and i < 2 else _kept(cell, letter)
        if cell.removesuffix(", exploratory") in VERDICTS:
            text = f'<span class="verdict {re.split("[ ,]", cell)[0]}">{text}</span>'
        out.append(f'<th scope="row"{_class(letter)}>{text}</th>' if i == 0 else f"<td{_class(letter)}>{text}</td>")
    return out


def _kept(cell: str, letter: str) -> str:
    """Returns the cell so that a column of numbers is broken only before a bracket."""
    return re.sub(r" (?![\[(])", NO_BREAK, escape(cell)) if letter == "r" else escape(cell)


def _class(letter: str) -> str:
    return {"r": ' class="number"', "w": ' class="long"'}.get(letter, "")


def _swatch(number: int) -> str:
    return f'<span class="swatch" style="background: {style.variable(number)}"></span>'


def _item(text: str, series: dict[str, int]) -> str:
    """Returns a sentence; a mechanism at its start is emphasised, and its colour in the pictures is the bullet."""
    for name in sorted(series, key=len, reverse=True):
        if text.startswith((f"{name} ", f"{name},")):
            return (
                f'<li class="named">{_swatch(series[name])}<b>{_breakable(name)}</b>{_text(text[len(name) :])}</li>\n'
            )
    return f"<li>{_text(text)}</li>\n"


def _text(text: str) -> str:
    """Returns the text with numbers kept with their units, and p with its value."""
    return re.sub(
        r"(?<=\d) (?=[%kMB]|nats|seeds?\b|tokens)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)|(?<=%) (?=CI)",
        NO_BREAK,
        escape(text),
    )


def _breakable(name: str) -> str:
    """Returns the name, which may break within its options if it is long."""
    return re.sub(r"(?<=[\[=,+])(?=\S)", "<wbr>", escape(name))

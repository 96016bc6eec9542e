"""Parts of a report as HTML for a cell of a notebook: without a style sheet, which would restyle the whole notebook."""

from leanformer.markup import html as escape
from leanformer.reporting.render.document import Table
from leanformer.reporting.render.style import Picture


def fragment(headline: str, table: Table, picture: Picture | None) -> str:
    head = "".join(_cell("th", text, letter) for text, letter in zip(table.header, table.align, strict=True))
    rows = (
        "".join(_cell("td", text, letter) for text, letter in zip(row, table.align, strict=True)) for row in table.rows
    )
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    drawn = ""
    if picture is not None:
        drawn = f"<figure>{picture.wide}<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
    return (
        f"<p><b>{escape(headline)}</b></p>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
        f"<p><small>{escape(table.caption)}</small></p>\n{drawn}"
    )


def _cell(name: str, text: str, letter: str) -> str:
    return f'<{name} style="text-align: {"right" if letter == "r" else "left"}">{escape(text)}</{name}>'

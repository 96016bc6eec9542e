"""A table of the report as LaTeX, in booktabs' style; `\\input` it in a document with \\usepackage{booktabs}."""

import re

from leanformer.markup import visible
from leanformer.reporting.render.document import Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{DAGGER}": r"\dag{}",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
"""Characters that pdfLaTeX would read as markup, or reject."""
COLUMNS = {"w": r"p{0.4\linewidth}"}


def latex(table: Table, name: str) -> str:
    """Returns a floating table; `name` is its label, and its caption if it has none, since LaTeX numbers captions."""
    columns = "".join(COLUMNS.get(letter, letter) for letter in table.align)
    caption = table.caption or name.replace("-", " ").capitalize()
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escape(caption)}}}",
        f"\\label{{tab:{name}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *map(_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    r"""Returns text in which nothing is markup. A leading [ is protected, since it would be an option of \\."""
    escaped = re.sub(".", lambda found: SPECIAL.get(found[0], found[0]), visible(text))
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def _row(cells) -> str:
    return " & ".join(map(escape, cells)) + r" \\"

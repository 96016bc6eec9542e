"""The style of the pictures: colours, type, and SVG that follows the page's light or dark scheme.

Colours follow Okabe and Ito (2008), so that colour-blind readers can distinguish them; every mechanism also has its own
marker. matplotlib draws with the light scheme's colours; `inline` replaces each by a CSS variable, and `css` defines
these for both schemes.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1b1f24", "#5b6470", "#d5dae0", "#ffffff"
SERIES = ("#3b424b", "#0072b2", "#c84e00", "#00845f", "#b0558f", "#b57a00", "#2f8fc4", "#7a5cc7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)))
DARK = {
    INK: "#e8eaed",
    MUTED: "#a3abb5",
    LINE: "#3a4149",
    PAPER: "#14171b",
    **dict(
        zip(
            SERIES,
            ("#c9ced5", "#56aef0", "#ff8b4d", "#2fc998", "#e59bcb", "#eab83e", "#8ed0f5", "#b6a0f2"),
            strict=True,
        )
    ),
}
NAMES = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--paper"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES)
}
FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
WIDE, NARROW = 9.6, 4.1
"""Widths in inches (72 SVG units each), at which 9-point type is about 12 pixels high on a page and on a phone."""
SIZE = 9.0

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": SIZE,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": SIZE,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.formatter.useoffset": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": False,
}


@dataclass(frozen=True)
class Picture:
    """A picture in two widths, as standalone SVG; `pdf` draws the wide one for a paper."""

    name: str
    title: str
    caption: str
    wide: str
    narrow: str
    draw: Callable[[], Figure] | None = field(default=None, repr=False, compare=False)
    """Draws the wide picture again, as a figure of matplotlib."""

    def figure(self) -> Figure:
        assert self.draw is not None, f"{self.name} was made from SVG alone"
        with drawing():
            return self.draw()

    def pdf(self) -> bytes:
        """Returns the wide picture for a paper."""
        figure = self.figure()
        with drawing():
            return pdf(figure)


class Chart(Figure):
    """A figure that a notebook shows as the report does, whether or not pyplot is set up there."""

    def _repr_svg_(self) -> str:
        with drawing():
            return svg(self, "chart")


def series(index: int) -> dict[str, Any]:
    """Returns colour, marker and line of the mechanism with this number; 0 is the baseline, whose colour is unique.

    If there are more mechanisms than colours, marker and line distinguish those that share one.
    """
    lap = max(index - 1, 0) // (len(SERIES) - 1)
    marker = MARKERS[_turn(index + lap) if index else 0]
    return {"color": SERIES[_turn(index)], "marker": marker, "linestyle": LINES[lap % len(LINES)]}


def variable(index: int) -> str:
    return f"var(--series-{_turn(index)})"


def _turn(index: int) -> int:
    return 1 + (index - 1) % (len(SERIES) - 1) if index else 0


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in this style, whatever the user's own matplotlib settings are, and without warnings about letters."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def svg(figure: Figure, name: str) -> str:
    """Returns standalone SVG, equal for equal figures: no date, no random ids, the reader's own sans-serif type."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", rf"\1 {FONTS.replace(chr(34), chr(39))}", text)
    return text[text.index("<svg") :]


def pdf(figure: Figure) -> bytes:
    """Returns a PDF with embedded TrueType fonts, without a date: equal figures give equal files."""
    buffer = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return buffer.getvalue()


def inline(svg: str) -> str:
    """Returns SVG to embed in a page: colours as variables, no namespaces, no fixed size."""
    for colour, name in NAMES.items():
        svg = re.sub(re.escape(colour), f"var({name})", svg, flags=re.IGNORECASE)
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", svg, count=1)
    return svg.replace("xlink:href", "href")


def css() -> str:
    """Returns the variables of the light and the dark scheme."""
    light = "; ".join(f"{name}: {colour}" for colour, name in NAMES.items())
    dark = "; ".join(f"{name}: {DARK[colour]}" for colour, name in NAMES.items())
    return (
        f":root {{ {light}; --sans: {FONTS} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def spaced(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Returns positions in the same order, at least `gap` apart within low..high, as near as possible to `wanted`.

    Neighbours that are too close form a block at their mean (least squares, by pooling adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[float]] = []  # [sum of (wanted - own offset), members]
    for rank, i in enumerate(order):
        blocks.append([wanted[i] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    last = (len(wanted) - 1) * gap
    starts = [max(low, min(total / members, high - last)) for total, members in blocks for _ in range(int(members))]
    out = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        out[i] = starts[rank] + rank * gap
    return out

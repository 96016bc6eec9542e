"""The column of intervals of a table, as one inline SVG per row; all rows have one axis.

    x(d) = WIDTH (d - low) / (high - low)

low..high holds zero, the margin, every mean and every interval, except for the ends of an interval so wide that it
would flatten the others: it is cut off and ends in an arrow. Colours are the page's, by the class of the verdict.
"""

from leanformer.markup import html as escape
from leanformer.reporting.numbers.quantities import decimals, signed
from leanformer.reporting.render.document import Interval, IntervalPlot

WIDTH, HEIGHT = 220.0, 20.0
"""The size of a row in pixels."""
EDGE = 6.0
"""Pixels that the axis keeps free at either end, for half a point or an arrow."""
AIR = 1.0
"""How far an interval may reach beyond the means, zero and the margin: this many times their span."""
LABEL = 36.0
"""Pixels of a label; a side of zero with less room has none."""

Axis = tuple[float, float]


def axis(plot: IntervalPlot) -> str:
    """Returns the head of the column: the ends of the axis and zero, and which side is better."""
    low, high = _limits(plot)
    zero, places = _x(0.0, (low, high)), decimals(min(-low, high))
    labels = [(zero, "middle", "0")]
    labels += [(0, "start", signed(low, places))] if zero - EDGE > LABEL else []
    labels += [(WIDTH, "end", signed(high, places))] if WIDTH - EDGE - zero > LABEL else []
    texts = [_text(x, 2 * HEIGHT - 8, anchor, text) for x, anchor, text in labels]
    texts += [_text(zero - 7, 12, "end", "better")] if zero - EDGE > LABEL else []
    texts += [_text(zero + 7, 12, "start", "worse")] if WIDTH - EDGE - zero > LABEL else []
    return _svg(2 * HEIGHT - 4, "axis", "Difference in nats; left of zero is better", "".join(texts))


def rows(plot: IntervalPlot) -> list[str]:
    """Returns one SVG per row."""
    limits = _limits(plot)
    left, right, zero = (_x(value, limits) for value in (-plot.margin, plot.margin, 0.0))
    ground = f'<rect class="band" x="{left:.1f}" width="{right - left:.1f}" height="{HEIGHT:g}"/>'
    ground += f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y2="{HEIGHT:g}"/>'
    return [
        _svg(HEIGHT, each.verdict.split()[0], each.said, ground + _mark(each, limits))
        if each
        else _svg(HEIGHT, "none", "", ground)
        for each in plot.intervals
    ]


def _limits(plot: IntervalPlot) -> Axis:
    drawn = [each for each in plot.intervals if each is not None]
    points = [0.0, -plot.margin, plot.margin, *(each.mean for each in drawn)]
    ends = [end for each in drawn if each.ends for end in each.ends]
    low, high = min(points), max(points)
    room = AIR * (high - low)
    return max(min([*points, *ends]), low - room), min(max([*points, *ends]), high + room)


def _x(value: float, limits: Axis) -> float:
    low, high = limits
    return EDGE + (WIDTH - 2 * EDGE) * (value - low) / (high - low)


def _mark(each: Interval, limits: Axis) -> str:
    middle, out = HEIGHT / 2, ""
    if each.ends:
        low, high = (_x(min(max(end, limits[0]), limits[1]), limits) for end in each.ends)
        out = f'<line class="reach" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
        out += _arrow(low, -1) if each.ends[0] < limits[0] else ""
        out += _arrow(high, 1) if each.ends[1] > limits[1] else ""
    return f'{out}<circle cx="{_x(each.mean, limits):.1f}" cy="{middle:g}" r="4"/>'


def _arrow(x: float, sign: int) -> str:
    middle = HEIGHT / 2
    return f'<path d="M{x + 5 * sign:.1f} {middle:g}l{-6 * sign} -4v8z"/>'


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, name: str, said: str, body: str) -> str:
    label = f' role="img" aria-label="{escape(said)}"' if said else ' aria-hidden="true"'
    return f'<svg class="interval {name}" viewBox="0 0 {WIDTH:g} {height:g}"{label}>{body}</svg>'

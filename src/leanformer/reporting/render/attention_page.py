"""A page of attention weights of one or several models, with a small map per head and one large map.

The page is one file that loads nothing from elsewhere. Without scripts it shows the first head; with scripts a click
chooses another, and the pointer shows a weight. A row is the token that attends, a column the token attended to. All
maps have one scale, 0 to 1, with colour by the square root, as most weights are small.
"""

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.image import imsave

from leanformer.markup import html as escape
from leanformer.reporting.render.html import head

CELL = 18
"""The size of a cell of the large map, in SVG units."""
FACTS = {
    "entropy": "entropy {:.2f} nats",
    "distance": "distance {:.1f} tokens",
    "before": "{:.0%} to the token before",
    "after": "{:.0%} after",
    "special": "{:.0%} to special tokens",
    "symmetry": "symmetry of scores {:+.2f}",
}


class Panel(NamedTuple):
    """The attention of one model on the sentence; K layers, H heads, L tokens."""

    title: str
    source: str
    tokens: list[str]
    weights: np.ndarray
    """(K, H, L, L), rows sum to one."""
    facts: list[dict[str, list[float]]]
    """For each layer and each of `FACTS`, a list over heads."""


def page(text: str, panels: Sequence[Panel]) -> str:
    """Returns the page as HTML."""
    script = files(__package__).joinpath("attention.js").read_text(encoding="utf-8")
    scale = _image(np.linspace(0, 1, 256)[None] ** 2)
    marks = "".join(f'<span style="left:{100 * x**0.5:.4g}%">{x:g}</span>' for x in (0, 0.01, 0.05, 0.2, 0.5, 1))
    body = "".join(_panel(number, panel) for number, panel in enumerate(panels))
    return f"""{head(f"Attention: {text}", "attention.css")}
<body>
<header>
<p class="kicker">leanformer attention</p>
<h1>{escape(text)}</h1>
<p>A row is the token that attends, a column the token attended. Choose a head among the small maps; point at a large
map to read a weight.</p>
<figure class="scale"><img src="{scale}" alt=""><div>{marks}</div>
<figcaption>attention weight, one scale for all maps, colour by its square root</figcaption></figure>
</header>
<main>
{body}</main>
<script>
{script}</script>
</body>
</html>
"""


def _panel(number: int, panel: Panel) -> str:
    layers, heads = panel.weights.shape[:2]
    titles = "<span></span>" + "".join(f"<span>{head + 1}</span>" for head in range(heads))
    rows = "".join(
        f"<span>{layer + 1}</span>" + "".join(_thumbnail(panel, layer, head) for head in range(heads))
        for layer in range(layers)
    )
    numbers = {"tokens": panel.tokens, "weights": panel.weights.astype(float).round(3).tolist()}
    data = json.dumps(numbers, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<section class="panel" id="panel-{number}">
<h2>{escape(panel.title)}</h2>
<p class="source">{escape(panel.source)}: {layers} layers of {heads} heads</p>
<div class="chooser"><span class="down">layer</span><div><span class="across">head</span>
<div class="heads" style="--heads:{heads}">{titles}{rows}</div></div></div>
<p class="chosen"><b>Layer 1, head 1</b><br><span class="facts">{_facts(panel, 0, 0)}</span></p>
{_large(panel)}
<p class="reading" aria-live="polite">&nbsp;</p>
<script type="application/json">{data}</script>
</section>
"""


def _thumbnail(panel: Panel, layer: int, head: int) -> str:
    first = ' class="on"' if (layer, head) == (0, 0) else ""
    name = f"Layer {layer + 1}, head {head + 1}"
    return (
        f'<button{first} data-layer="{layer}" data-head="{head}" data-facts="{escape(_facts(panel, layer, head))}" '
        f'title="{name}"><img src="{_image(panel.weights[layer, head])}" alt="{name}"></button>'
    )


def _facts(panel: Panel, layer: int, head: int) -> str:
    return ", ".join(form.format(panel.facts[layer][name][head]) for name, form in FACTS.items())


def _large(panel: Panel) -> str:
    """Returns the map with its tokens: those attended to above, those that attend to the left."""
    size = len(panel.tokens)
    margin = 10 + 7.2 * max(len(token) for token in panel.tokens)
    extent, whole = CELL * size, margin + CELL * size
    above = "".join(
        f'<text class="column" transform="translate({margin + CELL * (i + 0.72):g} {margin - 5:g}) rotate(-90)">'
        f"{escape(token)}</text>"
        for i, token in enumerate(panel.tokens)
    )
    beside = "".join(
        f'<text class="row" x="{margin - 5:g}" y="{margin + CELL * (i + 0.72):g}">{escape(token)}</text>'
        for i, token in enumerate(panel.tokens)
    )
    place = f'x="{margin:g}" y="{margin:g}" width="{extent}" height="{extent}"'
    return (
        f'<svg viewBox="0 0 {whole + 2:g} {whole + 2:g}" style="max-width:{1.25 * whole:.0f}px" '
        f'data-margin="{margin:g}" data-cell="{CELL}">{above}{beside}<image {place} preserveAspectRatio="none" '
        f'href="{_image(panel.weights[0, 0])}"/><rect class="frame" {place}/>'
        f'<rect class="cursor" width="{CELL}" height="{CELL}" visibility="hidden"/></svg>'
    )


def _image(weights: np.ndarray) -> str:
    """Returns a PNG with one pixel per weight, as a data URL."""
    buffer = io.BytesIO()
    imsave(buffer, mpl.colormaps["Blues"](np.sqrt(weights.clip(0, 1)))[..., :3], format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

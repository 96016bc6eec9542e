"""The README's picture shows every mechanism of the quickstart in a colour of its own."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from leanformer.reporting.figures.frame import OWN
from leanformer.reporting.render.style import DARK, SERIES, series

PICTURE = Path(__file__).parent.parent.parent / "docs" / "images" / "report.png"
MECHANISMS = {"dot_product": 0, **{name: OWN[name] for name in ("symmetric", "pairwise", "shared")}}
APART = 20
"""CIE76 distance; 2.3 is just noticeable."""


def lab(colour: str) -> np.ndarray:
    """CIELAB under D65, of an sRGB colour."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = matrix @ linear / (0.95047, 1.0, 1.08883)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_lab_by_hand():
    """Red is (53.2, 80.1, 67.2); white is (100, 0, 0)."""
    np.testing.assert_allclose(lab("#ff0000"), (53.2, 80.1, 67.2), atol=0.1)
    np.testing.assert_allclose(lab("#ffffff"), (100, 0, 0), atol=0.1)


@pytest.mark.parametrize("colours", [SERIES, [DARK[colour] for colour in SERIES]], ids=["light", "dark"])
def test_the_colours_of_the_mechanisms_differ(colours):
    used = [colours[number] for number in MECHANISMS.values()]
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in combinations(used, 2)) > APART


@pytest.mark.skipif(not PICTURE.is_file(), reason="the picture is not in this copy of the sources")
def test_every_mechanism_has_its_colour_in_the_picture():
    pixels = (imread(PICTURE)[..., :3] * 255).round().astype(int)
    for name, number in MECHANISMS.items():
        wanted = (np.array(to_rgb(series(number)["color"])) * 255).round().astype(int)
        assert (pixels == wanted).all(-1).sum() > 500, (
            f"{name} is not in {PICTURE}: benchmarks/report_picture.py makes it"
        )

"""Which letters lie beside a letter on a QWERTY keyboard: the nearest ones in its row and in those above and below.

Measured in keys, the rows begin at 0, 1/4 and 3/4. Two letters of one row are neighbours at distance 1, two of
adjoining rows if they are less than 1 apart along the row.
"""

ROWS = {"qwertyuiop": 0.0, "asdfghjkl": 0.25, "zxcvbnm": 0.75}


def _neighbours() -> dict[str, str]:
    places = {key: (x + start, y) for y, (row, start) in enumerate(ROWS.items()) for x, key in enumerate(row)}

    def beside(a: str, b: str) -> bool:
        (xa, ya), (xb, yb) = places[a], places[b]
        return abs(xa - xb) == 1 if ya == yb else abs(ya - yb) == 1 and abs(xa - xb) < 1

    return {a: "".join(b for b in places if beside(a, b)) for a in places}


NEIGHBOURS = _neighbours()
"""Letter -> its neighbours, in the order of the rows: "a" -> "qwsz"."""

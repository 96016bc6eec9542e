"""Every number that the pages of results quote is a field of a committed record, to the digits that are shown."""

import json

import pytest

from leanformer.reproduction.published import read_paper
from tests.evidence.pages import EXEMPTED, Quote, quotes, tied
from tests.evidence.records import RESULTS, ROOT, Value, value

PAGES = ["README.md", "docs/which-attention.md", "docs/results/README.md"]


@pytest.mark.parametrize("name", PAGES)
def test_every_number_is_that_of_a_record(name: str) -> None:
    wrong = [f"{name}:{quote.line}: {said}" for quote in tied((ROOT / name).read_text()) if (said := problem(quote))]
    assert not wrong, "\n".join(["", *wrong])


def problem(quote: Quote) -> str:
    """Why the number does not stand; '' if it does."""
    if quote.reference in EXEMPTED:
        return "" if quote.low is None and quote.sd is None else f"{quote.text} has an interval and no record"
    if quote.reference is None:
        return f"{quote.text} names no field of a record and is no setting (tests/evidence/pages.py)"
    try:
        found = value(quote.reference)
    except (LookupError, TypeError, ValueError) as error:
        return f"{quote.text} stands for {quote.reference!r}: {error}"
    return "" if agrees(quote, found) else f"{quote.text} stands for {quote.reference!r}, which is {told(found)}"


def agrees(quote: Quote, found: Value) -> bool:
    """To the digits shown, all with one sign: 0.144 behind is +0.144, and 0.223 better [0.185, 0.260] is
    -0.223 [-0.260, -0.185]. A number with a sign of its own stands for that one."""
    if quote.below:
        return found.point < _number(quote.point)
    if quote.sd is not None and not _shown(quote.sd, found.sd):
        return False
    turned = Value(-found.point, None if found.high is None else -found.high, None if found.low is None else -found.low)
    return any(
        _shown(quote.point, each.point)
        and all(
            text is None or _shown(text, number) for text, number in ((quote.low, each.low), (quote.high, each.high))
        )
        for each in ((found,) if quote.point[0] in "+-−" else (found, turned))
    )


def told(found: Value) -> str:
    interval = "" if found.low is None or found.high is None else f" [{found.low:.6g}, {found.high:.6g}]"
    return f"{found.point:.6g}{interval}" + ("" if found.sd is None else f" ± {found.sd:.6g}")


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _shown(text: str, number: float | None) -> bool:
    digits = len(text.partition(".")[2])
    return number is not None and abs(_number(text) - number) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.144 nats behind (95 % CI 0.122 to 0.167), 4 layers of 128", ["0.144 nats behind"]),
    ],
)
def test_numbers_are_found(text: str, found: list[str]) -> None:
    del text, found
    assert quotes


@pytest.mark.parametrize("name", ["shared", "symmetric", "symmetric/glue", "synthesizer"])
def test_a_rebuilt_paper_is_compared_with_what_the_paper_is_known_to_say(name: str) -> None:
    """Its committed record holds the published figures that have a source, and no others."""
    rows = json.loads((RESULTS / "reproduced" / name / "results.json").read_text())["rows"]
    recorded = {(row["table"], row["row"], row["attention"]): row["published"] for row in rows}
    known = {
        (table.title, row.name, attention): (table.published(row, attention), table.direction(row, attention))
        for table in read_paper(name.partition("/")[0]).tables
        for row in table.rows
        for attention in row.mechanisms
    }
    assert {key: (told["effect"], told["direction"]) for key, told in recorded.items()} == known

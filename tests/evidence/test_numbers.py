"""Every number that the pages of results quote is a field of a committed record, to the digits that are shown."""

import json

import pytest

from leanformer.reproduction.published import read_paper
from tests.evidence.pages import EXEMPTED, Quote, quotes, tied
from tests.evidence.records import RESULTS, ROOT, Value, value

PAGES = [
    "README.md",
    "docs/which-attention.md",
    "docs/results/README.md",
    "docs/results/confirm/README.md",
    "docs/results/conversion.md",
    "docs/results/real-models.md",
    "docs/results/size/README.md",
    "docs/results/synthesizer/README.md",
]
"""docs/results/related-methods.md is made of its records as a whole: tests/experiments/test_related_methods.py."""
GENERATED = ["docs/results/conversion.md"]
"""Pages whose tables are made of their records: tests/experiments/test_conversion.py."""


@pytest.mark.parametrize("name", PAGES)
def test_every_number_is_that_of_a_record(name: str) -> None:
    found = tied((ROOT / name).read_text(), tables=name not in GENERATED)
    wrong = [f"{name}:{quote.line}: {said}" for quote in found if (said := problem(quote))]
    assert not wrong, "\n".join(["", *wrong])


def problem(quote: Quote) -> str:
    """Why the number does not stand; '' if it does."""
    if quote.reference in EXEMPTED:
        return "" if quote.low is None and quote.sd is None else f"{quote.text} has an interval and no record"
    if quote.reference is None:
        return f"{quote.text} names no field of a record and is no setting (tests/evidence/pages.py)"
    try:
        found = value(quote.reference)
    except (LookupError, TypeError, ValueError, SyntaxError) as error:
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


def test_the_pages_of_results_are_all_tied() -> None:
    """Those that a person writes: each report.md is made of the results.json beside it by `leanformer report`."""
    pages = {str(page.relative_to(ROOT)) for page in RESULTS.rglob("*.md") if page.name != "report.md"}
    assert pages <= {*PAGES, "docs/results/related-methods.md"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.144 nats behind (95 % CI 0.122 to 0.167), 1.5 ± 0.2", [("0.144", "0.122", None), ("1.5", None, "0.2")]),
        (
            "-0.010 [-0.038, +0.018] and **3**",
            [("-0.010", "-0.038", None), ("3", None, None)],
        ),
        ("4 layers of 256 on SST-2 in 2018, `0.5` at 3e-4, 2 cores, 1.5 M tokens, [x](1.md), N(0, 1)", []),
    ],
)
def test_numbers_are_found(text: str, found: list[tuple[str, str | None, str | None]]) -> None:
    assert [(quote.point, quote.low, quote.sd) for quote in quotes(text)] == found


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("0.1444 behind", True), ("0.145 behind", False), ("-0.144", False), ("0.144 [0.122, 0.167]", True),
        ("0.144 [0.122, 0.168]", False), ("1.452 ± 0.020", False), ("< 0.2", True), ("< 0.1", False),
    ],
)  # fmt: skip
def test_a_number_is_compared_to_the_digits_shown(text: str, right: bool) -> None:
    (quote,) = quotes(text)
    assert agrees(quote, value("direction symmetric")) is right


def test_a_number_without_a_reference_or_with_a_wrong_one_is_a_problem() -> None:
    page = "Ends 0.144 behind. <!-- direction symmetric -->\n\n| `symmetric` | 0.2 |\n\n- 0.3 <!-- direction cubic -->"
    right, alone, wrong = map(problem, tied(page))
    assert not right and "names no field" in alone and "has no arm 'cubic'" in wrong
    with pytest.raises(ValueError, match="line 1: 2 references for 1 numbers"):
        list(tied("0.5 nats <!-- direction symmetric; setting -->"))


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

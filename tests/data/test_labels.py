"""Labels as people and their tools write them: read where only one reading makes sense, else refused."""

import math

import pytest

from leanformer.data import labels
from leanformer.data.tasks import Task, task

SST2 = task("sst2")
STARS = Task("stars", ("text",), ("1", "2", "3", "4", "5"))
DECIMALS = Task("decimals", ("text",), ("1.0", "2.0", "3.0"))
BITS = Task("bits", ("text",), ("1", "0"))
ANSWERS = Task("answers", ("text",), ("yes", "no"))


@pytest.mark.parametrize(
    ("of", "value", "position"),
    [
        *((SST2, value, 1) for value in (1, 1.0, "1", "1.0", "1.", " 1 ", "+1", True, "true", "TRUE")),
        *((SST2, value, 1) for value in ("positive", " positive ", "Positive", "POSITIVE\n")),
        *((SST2, value, 0) for value in (0, 0.0, -0.0, "0", "0.0", False, "false", "Negative")),
        *((task("boolq"), value, 1) for value in (True, "True", "true", 1, 1.0, "1.0")),
        *((task("boolq"), value, 0) for value in (False, "False", "false", 0, "0.0")),
        *((STARS, value, 2) for value in (3, 3.0, "3", "3.0")),
        *((DECIMALS, value, 0) for value in (1, 1.0, "1", "1.0")),
        *((BITS, value, 0) for value in (1, 1.0, "1.0", True, "true")),
        *((BITS, value, 1) for value in (0, "0.0", False)),
        *((ANSWERS, value, 0) for value in (True, "Yes", 0, "0.0")),
        (ANSWERS, False, 1),
        (task("mnli"), 2.0, 2),
        (task("rte"), 1.0, 1),
        (task("copa"), "1.0", 1),
        (task("ag_news"), "sci/tech", 3),
    ],
)
def test_a_label_with_one_reading_is_read(of: Task, value: object, position: int):
    assert labels.reader(of)(value, ("text",)) == position


@pytest.mark.parametrize(
    ("of", "value", "message"),
    [
        *((SST2, value, "is not of sst2: negative, positive, or their positions 0 to 1$") for value in (2, 0.5, "1,0")),
        *((SST2, value, "is not of sst2: negative, positive") for value in ("good", math.inf, [1], {"label": 1})),
        *((SST2, value, "-1 stands for a hidden label") for value in (-1, -1.0, "-1", "-1.0")),
        *((SST2, value, "it is empty: fill it in or drop the row") for value in ("", "  ")),
        *((task("rte"), value, "which of them .rue means is not clear") for value in (True, "true")),
        (task("mnli"), True, "which of them True means is not clear: write the names"),
        (task("copa"), False, "which of them False means is not clear"),
        (STARS, 0, "label 0 is not of stars: 1, 2, 3, 4, 5$"),
        (STARS, True, "which of them True means is not clear"),
        (DECIMALS, 1.5, "label 1.5 is not of decimals: 1.0, 2.0, 3.0$"),
        (SST2, "x" * 999, "label 'x+... is not of sst2"),
        (task("stsb"), True, "label True is not of stsb: a number from 0.0 to 5.0"),
        (task("stsb"), 10**4000, "label 1000.* is not of stsb"),
        (task("squad"), {"text": ["a"], "answer_start": [math.inf]}, "is not"),
    ],
)
def test_a_label_that_may_mean_anything_is_refused(of: Task, value: object, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        labels.reader(of)(value, ("text", "context"))
    assert "\n" not in str(caught.value)

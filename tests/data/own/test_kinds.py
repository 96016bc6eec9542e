"""What columns say about the kind of a task."""

import pytest

from leanformer.data.own import kinds


def of(values, texts=("a",) * 40, label=("y",)):
    return kinds.kind_of(texts, [[value] for value in values], label)[0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["good", "bad"] * 10, "single"),
        (["1", "2", "3", "4", "5"] * 4, "single"),
        ([1, 2.0] * 4, "single"),
        ([True, False] * 4, "single"),
        (["1", "2.5", "3"], "regression"),
        (list(range(20)), "single"),
        (list(range(21)), "regression"),
        ([[], ["a", "b"], ["a"]], "multi"),
        ([[], [{"start": 0, "end": 1, "label": "A"}]], "tokens"),
        ([None, {"text": [], "answer_start": []}], "questions"),
        ([[], [{"text": "a", "answer_start": 0}]], "questions"),
    ],
)
def test_kinds(values, kind):
    assert of(values) == kind


def test_lists_beside_lists_are_tags():
    assert of([["O", "B-A"]], texts=[["Hi", "Ada"]]) == "tokens"
    assert of([["O", "B-A"]], texts=['["Hi", "Ada"]']) == "tokens"
    assert kinds.kind_of(["a"], [[0, 1]], ("x", "y")) == ("multi", "there are 2 label columns")


def test_what_is_no_label():
    with pytest.raises(
        ValueError, match="y holds numbers, and words such as 'n/a': mend the rows, or give --kind single"
    ):
        of(["1", "2", "n/a", "3"])
    with pytest.raises(ValueError, match="y holds 30 different values in 30 rows, which are texts and no classes"):
        of([f"review {i}" for i in range(30)])


def test_names_lists_and_truth():
    assert [kinds.class_name(value) for value in (" good ", 2.0, "2.0", 2.5, 3, True)] == [
        "good",
        "2",
        "2",
        "2.5",
        "3",
        "True",
    ]
    assert kinds.as_list('["a", "b"]') == ["a", "b"]
    assert kinds.as_list("[sic] a") == "[sic] a"
    assert kinds.label_names("a| b;c, a") == ["a", "b", "c"]
    assert kinds.label_names("") == kinds.label_names([]) == []
    assert [kinds.truth(value, "x") for value in (1, "0", True, "Yes", 0.0, " no ")] == [1, 0, 1, 1, 0, 0]
    with pytest.raises(ValueError, match="x is '2', but one of several label columns holds 0 or 1"):
        kinds.truth("2", "x")

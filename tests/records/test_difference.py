"""The difference that is named is the first one, in the order of what is asked now."""

from leanformer.records.difference import difference


def test_the_first_one_is_named():
    assert difference({"b": 1, "a": 2}, {"a": 2, "b": 1}) is None
    assert str(difference({"a": 1, "b": 1}, {"b": "x", "a": 2})) == "b = 1, not 'x'"
    assert difference({"a": 1, "b": 1}, {"b": 2, "a": 2}, free=("b",)) == ("a", 1, 2)


def test_what_only_one_has_is_a_difference():
    assert difference({}, {"new": 1}) == ("new", None, 1)
    assert difference({"old": 1}, {}) == ("old", 1, None)
    assert difference({"old": 1}, {"new": None}) == ("old", 1, None)

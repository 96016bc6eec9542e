"""Dictionaries and mentions: what they mean, what is scored, what is learned from, and every fault in one line."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from leanformer.linking.dictionary import Dictionary, read_dictionary
from leanformer.linking.mentions import Mention, asked, earlier, find_file, learned, read_mentions
from leanformer.linking.scoring import right
from leanformer.linking.settings import Linking, LinkingSettings, read_linking

ENTRY = {"id": "D1", "alt_ids": ["77"], "names": ["ataxia", "lack of order"]}


def file(tmp_path, *rows, name="dictionary.jsonl"):
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def small() -> Dictionary:
    ids = [("D1", "77"), ("D2", "D1"), ("D1", "88"), ("D3",)]
    return Dictionary(ids, [("ataxia",), ("tremor", "ataxia"), ("unsteady gait",), ("fever", "ague")])


def mention(text: str, *gold: str) -> Mention:
    return Mention("test.jsonl, line 1", tuple(text.split("|")), gold)


# --- dictionaries


def test_a_dictionary_is_read(tmp_path):
    found = read_dictionary(file(tmp_path, ENTRY, {"id": " 5 ", "names": ["fever", "fever", "high  temperature"]}))
    assert found.ids == [("D1", "77"), ("5",)]
    assert found.names == [("ataxia", "lack of order"), ("fever", "high temperature")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"names": ["a"]}, "line 2: no column 'id'; it has: names"),
        ({"id": "D2"}, "line 2: no column 'names'"),
        ({"id": "D2", "names": []}, "line 2: names is empty: give D2 a name or drop the row"),
        ({"id": "D2", "names": ["a", " "]}, "line 2: names is empty or holds an empty text"),
        ({"id": "", "names": ["a"]}, "line 2: id is empty"),
        ({"id": 7, "names": ["a"]}, "line 2: id must be a text, not 7"),
        ({"id": "D2", "names": "a"}, "line 2: names must be a list of texts, not 'a'"),
        ("nothing", "line 2: not JSON"),
    ],
)
def test_what_is_no_entry_is_told_with_its_place(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read_dictionary(file(tmp_path, ENTRY, row))


def test_an_empty_dictionary_and_a_missing_one(tmp_path):
    with pytest.raises(ValueError, match="is empty: a dictionary needs rows"):
        read_dictionary(file(tmp_path))
    with pytest.raises(FileNotFoundError, match="no dictionary.jsonl"):
        find_file(tmp_path / "nowhere", "dictionary", tmp_path / "above")
    with pytest.raises(ValueError, match="rows that hold lists are read from"):
        read_dictionary(file(tmp_path, ENTRY, name="dictionary.csv"))


def test_an_id_is_first_its_own_concepts():
    assert small().holding == {"D1": [0, 2, 1], "D2": [1], "D3": [3], "77": [0], "88": [2]}
    assert small().synonyms("D1") == ["ataxia", "unsteady gait", "tremor"]
    labels = {id: small().label(id) for id in ("D1", "77", "88", "D2", "D3")}
    assert labels == {"D1": 0, "77": 0, "88": 0, "D2": 1, "D3": 3}


def test_joined_mentions_say_what_a_name_means_most():
    assert small().meanings["ataxia"] == [0, 1]
    joined = small().with_mentions([("ataxia", "D2"), ("ague", "D3"), ("shakes", "D2"), ("shakes", "D9")])
    assert joined.meanings["ataxia"] == [1, 0]  # somebody meant that one
    assert joined.meanings["shakes"] == [1]  # and D9 is nothing known
    more = joined.with_mentions([("ataxia", "77"), ("ataxia", "77")])
    assert more.meanings["ataxia"] == [0, 1]
    assert small().hash != joined.hash


# --- mentions


def test_mentions_are_read(tmp_path):
    rows = [{"mention": "ataxia", "gold": [" D1"]}, {"mention": "a| b", "gold": ["D1+D2", "D1"], "surface": "x"}]
    simple, composite = read_mentions(file(tmp_path, *rows))
    assert (simple.parts, simple.gold, simple.composite) == (("ataxia",), ("D1",), False)
    assert (composite.parts, composite.gold, composite.composite) == (("a", "b"), ("D1", "D2"), True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"mention": "", "gold": ["D1"]}, "line 2: mention is empty"),
        ({"mention": "a|", "gold": ["D1"]}, "line 2: mention 'a|' has an empty part"),
        ({"mention": "a", "gold": []}, "line 2: gold .* holds an empty id or none"),
        ({"mention": "a", "gold": ["D1+"]}, "line 2: gold .* holds an empty id or none"),
        ({"mention": "a", "gold": "D1"}, "line 2: gold must be a list"),
        ({"gold": ["D1"]}, "line 2: no column 'mention'"),
    ],
)
def test_what_is_no_mention_is_told_with_its_place(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read_mentions(file(tmp_path, {"mention": "a", "gold": ["D1"]}, row))


def test_a_missing_entry_is_refused_wrong_or_left_out():
    mentions = [mention("ataxia", "D1"), mention("gout", "D9"), mention("both", "D9", "D1")]
    with pytest.raises(ValueError, match="test.jsonl, line 1: D9 is not in the dictionary: add it, or choose"):
        asked(mentions, small(), LinkingSettings())
    assert asked(mentions, small(), LinkingSettings(missing="wrong")) == mentions
    assert asked(mentions, small(), LinkingSettings(missing="skip")) == [mentions[0], mentions[2]]


def test_composite_mentions_can_be_left_out_and_are_never_learned_from():
    mentions = [mention("ataxia", "D1"), mention("a|b", "D1"), mention("c", "D1", "D2"), mention("gout", "D9")]
    assert asked(mentions[:3], small(), LinkingSettings(composites="skip")) == mentions[:1]
    assert learned(mentions, small()) == [("ataxia", "D1")]
    with pytest.raises(ValueError, match="no mention is left to score"):
        asked(mentions[1:2], small(), LinkingSettings(composites="skip"))


def test_which_splits_are_trained_on():
    assert earlier("test", "earlier") == ("train", "validation")
    assert earlier("validation", "earlier") == earlier("test", "train") == ("train",)
    with pytest.raises(ValueError, match="--split tset: did you mean 'test'"):
        earlier("tset", "earlier")


# --- what is right


@pytest.mark.parametrize(
    ("text", "gold", "found", "any_", "each"),
    [
        ("a", ("D1",), [["D1", "D2"]], True, True),
        ("a", ("D1",), [["D2", "D1"]], False, False),
        ("a|b", ("D1", "D2"), [["D2"], ["D1"]], True, True),  # the order of ids is not that of the parts
        ("a|b", ("D1", "D2"), [["D1"], ["D1"]], True, False),
        ("a|b", ("D1", "D2"), [["D1"], ["D3"]], False, False),
        ("a", ("D1", "D2"), [["D1"]], True, False),
    ],
)
def test_right_at_one(text, gold, found, any_, each):
    ids = [[{id} for id in part] for part in found]
    assert right(mention(text, *gold), ids, 1, "any") is any_
    assert right(mention(text, *gold), ids, 1, "each") is each


def test_right_among_more_and_by_any_id_of_a_name():
    assert right(mention("a", "D1"), [[{"D2"}, {"7", "D1"}]], 2, "any")


# --- settings


def test_settings_of_a_kind_override_those_of_all():
    settings = read_linking(None, ["linking.epochs=3", "linking.rescnn.epochs=7", "linking.composites=each"])
    assert (settings.of("rescnn").epochs, settings.of("transformer").epochs) == (7, 3)
    assert settings.of("rescnn").learning_rate == 1e-3
    assert settings.of("rescnn").composites == settings.untrained.composites == "each"
    assert Linking().of("transformer") == LinkingSettings()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("linking.epoch=3", "unknown setting linking.epoch: did you mean 'epochs'"),
        ("linking.composites=all", "linking.composites = 'all'"),
        ("linking.batch_size=1", "must be at least 2"),
        ("linking.max_length=0", "must be positive"),
        ("linking.resnet.epochs=3", r"unknown table \[linking.resnet\]: did you mean 'rescnn'"),
        ("linking.rescnn.join=false", "all encoders are asked the same; set linking.join"),
        ("training.seed=3", r"unknown table of settings \[training\]"),
    ],
)
def test_bad_settings_are_told(override, message):
    with pytest.raises(ValueError, match=message):
        read_linking(None, [override])


def test_every_setting_is_documented_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "entity-linking.md").read_text()
    documented = {}
    for keys, values in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`[^`]+`(?:, `[^`]+`)*) \|", page, re.MULTILINE):
        documented |= dict(zip(re.findall(r"`(.+?)`", keys), re.findall(r"`(.+?)`", values), strict=True))
    defaults = asdict(LinkingSettings())
    assert documented == {k: repr(v).replace("'", '"').replace("True", "true") for k, v in defaults.items()}

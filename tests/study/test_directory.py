"""A study's directory: who may begin there, who may go on, and which setting is named if not."""

import json

import pytest

from leanformer.records.studies import Study
from leanformer.study.directory import StudyDirectory


@pytest.fixture
def study(tmp_path):
    return StudyDirectory(tmp_path / "out", "study.json", Study, "study")


def test_a_record_is_read_as_it_was_written(study):
    assert study.read() is None
    study.write({"kind": "made up", "settings": {"a": 1}})
    assert study.read() == {"schema": 1, "kind": "made up", "settings": {"a": 1}}
    damaged = json.loads(study.record.read_text()) | {"settings": {"a": 2}}
    study.record.write_text(json.dumps(damaged))
    with pytest.raises(ValueError, match="is damaged .* restore it, or give another --out"):
        study.read()


def test_only_a_free_directory_begins_a_study(study):
    study.require_free()
    (study.path / ".lock.tmp").parent.mkdir()
    (study.path / ".lock.tmp").write_text("")  # a lock is nothing that a user has
    (study.path / "data").mkdir()
    study.require_free(but=("data",))
    with pytest.raises(FileExistsError, match="out is not empty and holds no study: give another --out$"):
        study.require_free()


def test_the_first_other_setting_is_named(study):
    before = {"b": 1, "a": 1, "seed": 1, "old": 0}
    study.require_same(before, before | {"seed": 2}, free=("seed",))
    for now, said in (
        ({"a": 2, "b": 2, "seed": 1, "old": 0}, "a = 1, this command says 2"),
        ({"b": 1, "a": 1, "seed": 1}, "old = 0, this command says None"),
        (before | {"new": 3}, "new = None, this command says 3"),
    ):
        with pytest.raises(ValueError, match=f"out was started with {said}: repeat the earlier setting, or give"):
            study.require_same(before, now)


def test_one_process_at_a_time_and_a_dry_run_leaves_nothing(study):
    with study.claimed(dry_run=True):
        assert not study.path.exists()
    with study.claimed():
        with pytest.raises(FileExistsError, match="is in use by process"), study.claimed():
            pass
        with study.claimed(dry_run=True):
            pass

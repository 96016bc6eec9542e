"""Files behind a URL are read as those of this machine are."""

import lzma
from pathlib import Path

import fsspec
import pytest

import leanformer as lf
from leanformer.data import remote
from leanformer.data.readers import documents, files


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.pipe("/corpus/b.txt", b"two\n\nthree")
    system.pipe("/corpus/a.jsonl", b'{"text": "one"}\n')
    system.pipe("/corpus/c.txt.xz", lzma.compress(b"four"))
    yield system
    system.rm("/corpus", recursive=True)


def test_all_files_that_match_are_read_in_the_order_of_their_names(memory):
    assert list(documents("memory://corpus/*")) == ["one", "two", "three", "four"]
    assert list(documents("memory://corpus/b.txt")) == ["two", "three"]
    assert files("memory://corpus/*") is None


def test_what_is_not_there_and_what_cannot_be_read_is_told_with_its_url(memory):
    for name in ("memory://corpus/none.txt", "memory://other/*.txt"):
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            files(name)
    memory.pipe("/corpus/bad.txt", b"\xff")
    with pytest.raises(ValueError, match=r"^memory:///?corpus/bad\.txt: not UTF-8 at byte 0"):
        list(documents("memory://corpus/bad.txt"))
    with pytest.raises(ValueError, match="^nowhere://x"):
        files("nowhere://x")


def test_a_copy_is_gone_after_it_was_read(memory):
    with remote.copied("memory://corpus/b.txt") as path:
        assert path.read_bytes() == b"two\n\nthree"
    assert not path.parent.exists()


def test_a_url_is_prepared_as_the_same_file_here(text: str, tmp_path: Path, memory, command):
    memory.pipe("/corpus/whole.txt", text.encode())
    (tmp_path / "whole.txt").write_text(text, encoding="utf-8")
    here = lf.prepare(tmp_path / "whole.txt", out=tmp_path / "here", vocab_size=300, quiet=True)
    there = lf.prepare("memory://corpus/whole.txt", out=tmp_path / "there", vocab_size=300, quiet=True)
    assert there.record["hash"] == here.record["hash"]
    arguments = ("--out", tmp_path / "again", "--vocab-size", "300", "--quiet")
    status, _, err = command("prepare", "memory://corpus/whole.txt", *arguments)
    assert status == 0, err


def test_a_pattern_names_files_of_this_machine(tmp_path: Path):
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.txt").write_text("d", encoding="utf-8")
    assert list(documents(str(tmp_path / "*.txt"))) == ["a.txt", "b.txt"]
    assert len(files(str(tmp_path / "**" / "*.txt")) or ()) == 3
    with pytest.raises(FileNotFoundError, match="no file has such a name"):
        files(str(tmp_path / "*.csv"))

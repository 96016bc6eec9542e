import json
import os
import shutil

import numpy as np
import pytest

from leanformer.data import integrity
from leanformer.data.corpus import Corpus, read_record
from leanformer.data.store import write_record


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns(integrity.NOTE))


def test_sequences_are_slices_of_the_tokens(data):
    store = Corpus.open(data).train
    tokens = np.fromfile(data / "train.bin", np.uint16)
    assert len(store) == len(tokens) and store.sequences(31) == len(tokens) // 31
    batch = store.batch(np.array([2, 0, 2]), 31)
    assert batch.dtype == np.int64 and type(batch) is np.ndarray
    np.testing.assert_array_equal(batch, [tokens[62:93], tokens[:31], tokens[62:93]])
    last = store.sequences(31) - 1
    np.testing.assert_array_equal(store.batch([last], 31)[0], tokens[31 * last : 31 * last + 31])


@pytest.mark.parametrize("number", [-1, 10**9])
def test_a_sequence_that_is_not_there_is_refused(data, number):
    with pytest.raises(IndexError, match="not all in range"):
        Corpus.open(data).train.batch([number], 31)


def test_documents_start_with_cls_and_end_with_sep(data):
    corpus = Corpus.open(data)
    for store in (corpus.train, corpus.valid):
        starts, ends = store.documents, np.append(store.documents[1:], len(store))
        assert starts[0] == 0 and (np.diff(starts) > 2).all()
        assert (store.tokens[starts[1:]] == corpus.cls_id).all()
        assert (store.tokens[ends[:-1] - 1] == corpus.sep_id).all()


def test_counts_are_those_of_the_tokens(data):
    corpus = Corpus.open(data)
    np.testing.assert_array_equal(
        corpus.train.counts(corpus.vocab_size), np.bincount(corpus.train.tokens, minlength=corpus.vocab_size)
    )


def test_the_vocabulary_is_known(data):
    corpus = Corpus.open(data)
    assert (corpus.pad_id, corpus.cls_id, corpus.sep_id, corpus.mask_id) == (0, 2, 3, 4)
    np.testing.assert_array_equal(corpus.ordinary_ids, np.arange(5, corpus.vocab_size))


def test_a_copy_has_the_same_hash(data, copy):
    assert Corpus.open(copy, verify=True).hash == Corpus.open(data).hash


def test_a_truncated_file_is_named(copy):
    tokens = copy / "train.bin"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"train.bin: \d+ bytes where data.json says \d+; run leanformer prepare"):
        Corpus.open(copy)


@pytest.mark.parametrize("name", ["train.bin", "valid.bin", "train.documents.bin", "tokenizer.json"])
def test_a_flipped_bit_is_named_at_the_next_opening(copy, name):
    Corpus.open(copy)
    flip(copy / name, 7)
    with pytest.raises(ValueError, match=f"{name} is damaged .*: run leanformer prepare again"):
        Corpus.open(copy)


def test_of_a_long_file_that_is_known_a_sample_of_blocks_is_read(copy, monkeypatch):
    """A bit that flips on the disk changes no time: the blocks' own sums tell it, all of them when asked to."""
    monkeypatch.setattr(integrity, "BLOCK", 64)
    record = read_record(copy)
    write_record(copy, record | {"files": {name: integrity.sums(copy / name) for name in record["files"]}})
    Corpus.open(copy)
    times = (copy / "train.bin").stat()
    flip(copy / "train.bin", 100)
    os.utime(copy / "train.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    monkeypatch.setattr(integrity, "SAMPLED", 10**9)
    with pytest.raises(ValueError, match=r"train.bin is damaged \(block 1 of 64 bytes\)"):
        Corpus.open(copy)
    monkeypatch.setattr(integrity, "SAMPLED", 0)
    Corpus.open(copy)
    with pytest.raises(ValueError, match="train.bin is damaged .its content is not what was written"):
        Corpus.open(copy, verify=True)


def test_a_directory_that_may_only_be_read_is_read_whole(copy, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("leanformer.files.write_json", refuse)
    Corpus.open(copy)
    assert not (copy / integrity.NOTE).exists()


@pytest.mark.parametrize("note", ["", "[]", "{", '{"train.bin": 3}', "[" * 5000])
def test_a_damaged_note_is_none(copy, note):
    (copy / integrity.NOTE).write_text(note)
    Corpus.open(copy)


def test_ids_beyond_the_vocabulary_are_refused_whatever_the_hashes_say(copy):
    tokens = np.fromfile(copy / "train.bin", np.uint16)
    tokens[5] = 60_000
    tokens.tofile(copy / "train.bin")
    rewritten(copy)
    with pytest.raises(ValueError, match=r"train.bin is damaged \(id 60000 in a vocabulary of \d+\)"):
        Corpus.open(copy)


@pytest.mark.parametrize("starts", [[1, 40], [0, 50, 40], [0, 10**9], [0, 0]])
def test_documents_that_cannot_start_there_are_refused(copy, starts):
    np.array(starts, np.int64).tofile(copy / "valid.documents.bin")
    rewritten(copy)
    with pytest.raises(ValueError, match=r"valid.documents.bin is damaged \(documents do not start"):
        Corpus.open(copy)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "sub/file.txt", "..", ".hidden", "a\\b", "C:x", ""])
def test_a_name_that_leads_elsewhere_is_refused(copy, name):
    record = read_record(copy)
    other = {name: {"bytes": 3, "sha256": "0" * 64}}
    write_record(copy, record | {"files": record["files"] | other})
    with pytest.raises(ValueError, match="a plain file name is expected"):
        Corpus.open(copy)


def test_a_link_out_of_the_directory_is_refused(copy, tmp_path):
    shutil.move(copy / "tokenizer.json", tmp_path / "secret.txt")
    (copy / "tokenizer.json").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ValueError, match="tokenizer.json leads out of .*: put the file itself there"):
        Corpus.open(copy)


@pytest.mark.parametrize("key", ["vocabulary", "dtype", "sources", "settings", "hash"])
def test_an_edited_record_is_refused(copy, key):
    record = json.loads((copy / "data.json").read_text())
    other = {"vocabulary": record["vocabulary"] | {"mask_id": 3}, "dtype": "uint32", "hash": "0" * 64}
    record[key] = other.get(key, {})
    (copy / "data.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="data.json is damaged .it is not what was written, by its checksum"):
        Corpus.open(copy)


def test_what_a_model_sees_is_in_the_hash_too(copy):
    """Where a record has no checksum, as those of older versions."""
    record = read_record(copy)
    record["vocabulary"]["mask_id"] = 3
    (copy / "data.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="data.json is damaged .its hash is of other data"):
        Corpus.open(copy)


def flip(path, byte):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def rewritten(directory):
    """data.json with the sums of the files as they are now."""
    record = read_record(directory)
    record["files"] = {name: integrity.sums(directory / name) for name in record["files"]}
    write_record(directory, record | {"hash": integrity.content_hash(record)})


def test_a_missing_file_is_named(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer.json: missing"):
        Corpus.open(copy)


def test_another_directory_is_no_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such data directory; make one with: leanformer prepare"):
        Corpus.open(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="not a data directory"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize(
    "record, message",
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "schema: field"),
        ('{"schema": 2}', "schema 2"),
        (None, "dtype: field"),
    ],
)
def test_a_damaged_record_is_named(copy, record, message):
    if record is None:
        whole = json.loads((copy / "data.json").read_text())
        record = json.dumps({key: value for key, value in whole.items() if key != "dtype"})
    (copy / "data.json").write_text(record)
    with pytest.raises(ValueError, match=f"data.json .*{message}"):
        Corpus.open(copy)

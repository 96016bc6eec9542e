import json
import shutil

import numpy as np
import pytest

from leanformer.data.corpus import Corpus


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "copy")


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


def test_an_edited_file_is_named_when_verified(copy):
    tokens = bytearray((copy / "valid.bin").read_bytes())
    tokens[7] ^= 1
    (copy / "valid.bin").write_bytes(tokens)
    Corpus.open(copy)
    with pytest.raises(ValueError, match=r"valid.bin: its content has changed"):
        Corpus.open(copy, verify=True)


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
    [("{", "damaged"), ("[]", "damaged"), ("{}", "schema None"), ('{"schema": 2}', "schema 2"), (None, "no dtype")],
)
def test_a_damaged_record_is_named(copy, record, message):
    if record is None:
        whole = json.loads((copy / "data.json").read_text())
        record = json.dumps({key: value for key, value in whole.items() if key != "dtype"})
    (copy / "data.json").write_text(record)
    with pytest.raises(ValueError, match=f"data.json: .*{message}"):
        Corpus.open(copy)

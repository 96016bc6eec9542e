"""Shards hold what one process encodes, in the documents' order, and a killed preparation goes on from them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from leanformer.data import shards
from leanformer.data.encoding import Encoding, encoded
from leanformer.data.prepare import prepare
from leanformer.data.shards import Shards
from leanformer.data.tokenizer import train
from leanformer.data.vocabulary import Vocabulary

DOCUMENTS = [f"document {i} of the day {i % 7}" for i in range(300)] + ["\x01"]


@pytest.fixture
def encoding(text: str) -> Encoding:
    tokenizer = train([text], "wordpiece", 400)
    vocabulary = Vocabulary(400, (0, 1, 2, 3, 4), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)
    return Encoding.of(tokenizer, vocabulary, np.dtype(np.uint16))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 1000)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_documents_are_those_of_one_process(encoding: Encoding, tmp_path: Path, small: None, workers: int):
    expected = list(encoded(DOCUMENTS, encoding))  # which also leaves an encoder that no process could be sent
    made = Shards(encoding, tmp_path / "shards", workers)
    assert list(made("train", iter(DOCUMENTS))) == expected and len(expected) == 300
    assert made.written == len(list((tmp_path / "shards").glob("train-*.shard"))) > 3
    again = Shards(encoding, tmp_path / "shards", workers)
    assert list(again("train", iter(DOCUMENTS))) == expected
    assert (again.written, again.reused) == (0, made.written)


def test_a_small_text_needs_no_files(encoding: Encoding, tmp_path: Path):
    made = Shards(encoding, tmp_path / "shards", 2)
    assert list(made("train", iter(DOCUMENTS))) == list(encoded(DOCUMENTS, encoding))
    assert not (tmp_path / "shards").exists()


def test_a_damaged_shard_and_another_text_are_encoded_anew(encoding: Encoding, tmp_path: Path, small: None):
    whole = list(Shards(encoding, tmp_path, 1)("train", DOCUMENTS))
    first, second, *_ = sorted(tmp_path.glob("*.shard"))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:20])
    again = Shards(encoding, tmp_path, 1)
    assert list(again("train", DOCUMENTS)) == whole and again.written == 2
    other = Shards(encoding, tmp_path, 1)
    changed = list(other("train", ["another beginning", *DOCUMENTS[1:]]))
    assert other.written == 1 and changed[1:] == whole[1:]


def test_an_error_of_a_process_is_told(encoding: Encoding, tmp_path: Path, small: None, monkeypatch):
    monkeypatch.setattr(Shards, "_path", lambda self, part, number, texts: tmp_path / "none" / f"{number}")
    with pytest.raises(OSError, match="^cannot write .*none"):
        list(Shards(encoding, tmp_path, 2)("train", DOCUMENTS))


def test_a_process_that_dies_is_told(encoding: Encoding, tmp_path: Path, small: None):
    made = Shards(encoding, tmp_path, 2)
    stream = made("train", DOCUMENTS)
    next(stream)
    subprocess.run(["pkill", "-9", "-P", str(os.getpid()), "-f", "encoding_process"], check=True)
    with pytest.raises(ChildProcessError, match="status -9: give the same command again"):
        list(stream)


PREPARE = """
import sys
from leanformer.data import shards
from leanformer.data.prepare import prepare
shards.SHARD = 2000
prepare([sys.argv[1]], sys.argv[2], vocab_size=400, sequence_length=8, workers=2, quiet=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_byte(text: str, tmp_path: Path, monkeypatch, workers: int):
    source = tmp_path / "text.txt"
    source.write_text(text, encoding="utf-8")
    one = prepare([source], tmp_path / "one", vocab_size=400, sequence_length=8, quiet=True)
    monkeypatch.setattr(shards, "SHARD", 2000)
    several = prepare([source], tmp_path / "several", vocab_size=400, sequence_length=8, workers=workers, quiet=True)
    assert several["hash"] == one["hash"] and not (tmp_path / ".several.shards").exists()
    for file in (tmp_path / "one").glob("*.bin"):
        assert (tmp_path / "several" / file.name).read_bytes() == file.read_bytes()


def test_killed_twice_and_gone_on_with(text: str, tmp_path: Path):
    source, out, kept = tmp_path / "text.txt", tmp_path / "data", tmp_path / ".data.shards"
    source.write_text("\n\n".join(f"{i} {text}" for i in range(12)), encoding="utf-8")
    whole = prepare([source], tmp_path / "whole", vocab_size=400, sequence_length=8, quiet=True)
    for number in (2, 5):
        process = subprocess.Popen([sys.executable, "-c", PREPARE, str(source), str(out)])
        while len(list(kept.glob("*.shard"))) < number and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
    begun = {file.name: file.stat().st_mtime_ns for file in kept.glob("*.shard")}
    assert len(begun) >= 5
    subprocess.run([sys.executable, "-c", PREPARE, str(source), str(out)], check=True)
    assert prepare([source], tmp_path / "again", vocab_size=400, sequence_length=8, quiet=True)["hash"] == whole["hash"]
    assert (out / "train.bin").read_bytes() == (tmp_path / "whole" / "train.bin").read_bytes()
    assert not kept.exists()


def test_an_error_keeps_the_shards_and_says_so(text: str, tmp_path: Path, small: None, capsys):
    good, bad = tmp_path / "a.txt", tmp_path / "b.txt"
    good.write_text(text, encoding="utf-8")
    bad.write_bytes(b"\xff\xfe\xff")
    given = train([text], "wordpiece", 400)
    given.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="UTF-16"):
        prepare([good, bad], tmp_path / "data", tokenizer=tmp_path / "tokenizer.json", quiet=True)
    assert list((tmp_path / ".data.shards").glob("*.shard"))
    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())


def test_a_number_of_workers_is_at_least_one(tmp_path: Path):
    with pytest.raises(ValueError, match="--workers 0: must be at least 1"):
        prepare(["shipped:novels"], tmp_path / "data", workers=0)

import csv
import json
import re
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from transformers import AutoTokenizer

from leanformer.data import prepare as module
from leanformer.data.corpus import Corpus, read_record
from leanformer.data.prepare import prepare


@pytest.fixture(scope="session")
def chapters(text) -> list[str]:
    return text.split("\n\n")


@pytest.fixture
def source(text, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def bytes_of(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def read_back(store, tokenizer):
    """The texts of a split, without special tokens."""
    ends = np.append(store.documents[1:], len(store))
    return [
        tokenizer.decode(store.tokens[a:b].tolist(), skip_special_tokens=True)
        for a, b in zip(store.documents, ends, strict=True)
    ]


def plain(document):
    return document.strip().replace("\n", " ").lower()


def test_every_document_is_in_one_part_once(text, tmp_path):
    paragraphs = text.split()
    paragraphs = [" ".join(paragraphs[i : i + 29]) for i in range(0, len(paragraphs), 29)]
    (tmp_path / "text").write_text("\n\n".join(paragraphs))
    prepare(tmp_path / "text", tmp_path / "data", algorithm="characters", valid_fraction=0.1, quiet=True)
    corpus, tokenizer = Corpus.open(tmp_path / "data", verify=True), AutoTokenizer.from_pretrained(tmp_path / "data")
    train, valid, test = (read_back(store, tokenizer) for store in (corpus.train, corpus.valid, corpus.test))
    expected = [plain(paragraph) for paragraph in paragraphs]
    assert sorted(train + valid + test) == sorted(expected)
    assert train == [paragraph for paragraph in expected if paragraph in set(train)]
    assert len(valid) > 10 and len(test) > 1


def test_a_text_without_documents_is_cut_in_three(text, tmp_path):
    (tmp_path / "text").write_text(plain(text))
    prepare(tmp_path / "text", tmp_path / "data", algorithm="characters", valid_fraction=0.1, quiet=True)
    corpus, tokenizer = Corpus.open(tmp_path / "data", verify=True), AutoTokenizer.from_pretrained(tmp_path / "data")
    (train,), (valid,), (test,) = (read_back(store, tokenizer) for store in (corpus.train, corpus.valid, corpus.test))
    assert train + test + valid == plain(text)
    total = len(corpus.train) + len(corpus.valid) + len(corpus.test)
    assert len(corpus.valid) == total // 10
    assert len(corpus.test) == total // 50


def test_without_a_test_fraction_there_is_no_test_part(source, tmp_path):
    record = prepare(source, tmp_path / "data", algorithm="characters", test_fraction=0, quiet=True)
    assert list(record["splits"]) == ["train", "valid"] and Corpus.open(tmp_path / "data").test is None


def test_a_given_test_text_is_the_test_text(chapters, tmp_path):
    for name, part in (("train", chapters[:-1]), ("test", chapters[-1:])):
        (tmp_path / name).write_text("\n\n".join(part))
    prepare(tmp_path / "train", tmp_path / "data", test=[tmp_path / "test"], algorithm="characters", quiet=True)
    corpus, tokenizer = Corpus.open(tmp_path / "data"), AutoTokenizer.from_pretrained(tmp_path / "data")
    assert read_back(corpus.test, tokenizer) == [chapters[-1].strip().replace("\n", " ").lower()]


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "characters"])
def test_the_same_text_and_settings_give_the_same_bytes(source, tmp_path, algorithm):
    one, two = (
        prepare(source, tmp_path / name, algorithm=algorithm, vocab_size=503, quiet=True) for name in ("a", "b")
    )
    assert one == two and bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_another_text_or_setting_gives_another_hash(source, tmp_path, text):
    other = tmp_path / "other.txt"
    other.write_text(text.replace("Bennet", "Bonnet"))
    records = [
        prepare(source, tmp_path / "a", vocab_size=503, quiet=True),
        prepare(source, tmp_path / "b", vocab_size=499, quiet=True),
        prepare(source, tmp_path / "c", vocab_size=503, valid_fraction=0.2, quiet=True),
        prepare(other, tmp_path / "d", vocab_size=503, quiet=True),
    ]
    assert len({record["hash"] for record in records}) == 4


def test_the_hash_does_not_know_the_place(source, tmp_path):
    record = prepare(source, tmp_path / "a", vocab_size=503, quiet=True)
    moved = source.rename(tmp_path / "moved.txt")
    assert prepare(moved, tmp_path / "b", vocab_size=503, quiet=True)["hash"] == record["hash"]


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "characters"])
def test_transformers_loads_the_tokenizer(source, tmp_path, algorithm):
    prepare(source, tmp_path / "data", algorithm=algorithm, vocab_size=503, quiet=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "data")
    encoding = tokenizer("the cat", "the mat")
    assert list(encoding) == ["input_ids", "token_type_ids", "attention_mask"]
    assert encoding["token_type_ids"][0] == 0 and encoding["token_type_ids"][-1] == 1
    assert (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.mask_token_id) == (0, 2, 4)
    assert tokenizer.model_max_length == 512
    assert tokenizer.decode(tokenizer("the cat")["input_ids"], skip_special_tokens=True) == "the cat"


def test_a_given_validation_text_is_the_validation_text(chapters, tmp_path):
    for name, part in (("train", chapters[:-1]), ("valid", chapters[-1:])):
        (tmp_path / name).write_text("\n\n".join(part))
    prepare(tmp_path / "train", tmp_path / "data", valid=[tmp_path / "valid"], algorithm="characters", quiet=True)
    corpus, tokenizer = Corpus.open(tmp_path / "data"), AutoTokenizer.from_pretrained(tmp_path / "data")
    assert read_back(corpus.valid, tokenizer) == [chapters[-1].strip().replace("\n", " ").lower()]
    assert len(corpus.train.documents) == len(chapters) - 1


@pytest.mark.parametrize("documents", [1, 2, 5, 40, 400])
@pytest.mark.parametrize("fraction", [0.01, 0.2])
def test_every_size_of_corpus_has_its_share_held_out(documents, fraction, text, tmp_path):
    size = len(text) // documents
    body = text.replace("\n", " ")
    (tmp_path / "text").write_text("\n\n".join(body[i * size : (i + 1) * size] for i in range(documents)))
    prepare(tmp_path / "text", tmp_path / "data", algorithm="characters", valid_fraction=fraction, quiet=True)
    corpus = Corpus.open(tmp_path / "data")
    total = len(corpus.train) + len(corpus.valid)
    assert fraction / 2 <= len(corpus.valid) / total <= 2 * fraction
    for store in (corpus.train, corpus.valid):
        assert store.documents[0] == 0 and (np.diff(store.documents) > 0).all() and store.documents[-1] < len(store)


def test_several_sources_are_one_text(chapters, tmp_path):
    for number, chapter in enumerate(chapters[:4]):
        (tmp_path / f"{number}.txt").write_text(chapter)
    (tmp_path / "all.txt").write_text("\n\n".join(chapters[:4]))
    parts = prepare([tmp_path / f"{i}.txt" for i in range(4)], tmp_path / "a", vocab_size=503, quiet=True)
    whole = prepare(tmp_path / "all.txt", tmp_path / "b", vocab_size=503, quiet=True)
    assert parts["hash"] == whole["hash"]


@pytest.mark.parametrize("text", ["a few words", "x" * 300, "\x01\x02"])
def test_too_little_text_is_refused(text, tmp_path):
    (tmp_path / "small.txt").write_text(text)
    with pytest.raises(ValueError, match=r"small.txt: too little text, \d+ tokens to (train|validate) on"):
        prepare(tmp_path / "small.txt", tmp_path / "data", sequence_length=200, algorithm="characters", quiet=True)
    assert not (tmp_path / "data").exists()


def test_too_little_validation_text_is_refused(source, tmp_path):
    (tmp_path / "small.txt").write_text("a few words")
    with pytest.raises(ValueError, match=r"small.txt: too little text, \d+ tokens to validate on where one .* 128"):
        prepare(source, tmp_path / "data", valid=[tmp_path / "small.txt"], vocab_size=503, quiet=True)


def test_a_text_too_small_for_three_parts_may_do_for_two(tmp_path):
    (tmp_path / "small.txt").write_text("tiny text here. " * 16)
    how = {"texts": tmp_path / "small.txt", "out": tmp_path / "data", "algorithm": "characters", "quiet": True}
    with pytest.raises(ValueError, match=r"0 tokens to test on where one .* 128; give more .* \(--test-fraction 0\)"):
        prepare(**how)
    prepare(**how, test_fraction=0)
    corpus = Corpus.open(tmp_path / "data")
    assert corpus.test is None and corpus.train.sequences(128) == corpus.valid.sequences(128) == 1


def test_small_texts_do_for_short_sequences(tmp_path):
    (tmp_path / "small.txt").write_text("a few words, and a few words more " * 3)
    prepare(tmp_path / "small.txt", tmp_path / "data", sequence_length=16, algorithm="characters", quiet=True)
    corpus = Corpus.open(tmp_path / "data")
    assert corpus.train.sequences(16) >= 1 and corpus.valid.sequences(16) >= 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"valid_fraction": 0}, "valid_fraction = 0: must lie between 0 and 1"),
        ({"valid_fraction": 1.5}, "valid_fraction = 1.5"),
        ({"test_fraction": -0.1}, "test_fraction = -0.1: must lie between 0 and 1"),
        ({"valid_fraction": 0.5, "test_fraction": 0.5}, "test_fraction = 0.5: must lie between 0 and 1 - valid"),
        ({"algorithm": "unigram"}, "unknown tokenizer algorithm 'unigram'; known"),
        ({"vocab_size": 2}, "vocab_size = 2: wordpiece needs at least"),
        ({"texts": []}, "no text to prepare"),
    ],
)
def test_wrong_settings_are_refused(source, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(**{"texts": [source], "out": tmp_path / "data", "quiet": True, **settings})
    assert not (tmp_path / "data").exists()


def test_documents_are_separated_as_asked_and_tables_by_rows(text, tmp_path):
    """One text in four spellings gives the same tokens; the record says how it was read."""
    lines = [line for line in text.split("\n") if line.strip()][:400]
    (tmp_path / "blank.txt").write_text("\n\n".join(lines))
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    (tmp_path / "rows.json").write_text(json.dumps([{"body": line, "label": 1} for line in lines], indent=1))
    with (tmp_path / "ROWS.CSV").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "body"], *enumerate(lines)])
    asked = {"blank.txt": {}, "lines.txt": {"documents": "lines"}, "rows.json": {"field": "body"}}
    asked["ROWS.CSV"] = {"field": "body"}
    records = {
        name: prepare(tmp_path / name, tmp_path / f"{name}-data", vocab_size=503, quiet=True, **options)
        for name, options in asked.items()
    }
    assert len({record["hash"] for record in records.values()}) == 1
    assert records["lines.txt"]["settings"]["documents"] == "lines"
    assert records["rows.json"]["settings"] | {"field": "text"} == records["blank.txt"]["settings"]
    with pytest.raises(ValueError, match="--documents line: did you mean 'lines'"):
        prepare(tmp_path / "lines.txt", tmp_path / "data", documents="line", quiet=True)


def test_every_source_is_looked_for_before_any_is_read(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "documents", lambda *_: pytest.fail("read"))
    with pytest.raises(FileNotFoundError, match="nothing.txt: no such file"):
        prepare([source, tmp_path / "nothing.txt"], tmp_path / "data", quiet=True)


def test_a_bad_file_leaves_nothing_behind(source, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"text" * 99 + b"\xff")
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match="bad.txt: not UTF-8 at byte 396"):
        prepare([source, tmp_path / "bad.txt"], tmp_path / "data", quiet=True)
    assert set(tmp_path.iterdir()) == before


def test_what_is_there_is_not_overwritten(source, tmp_path):
    prepare(source, tmp_path / "data", vocab_size=503, quiet=True)
    before = bytes_of(tmp_path / "data")
    with pytest.raises(FileExistsError, match="data: there is something here already"):
        prepare(source, tmp_path / "data", vocab_size=499, quiet=True)
    assert bytes_of(tmp_path / "data") == before


def test_a_full_disk_leaves_nothing_behind(source, tmp_path):
    """The system's limit on the size of a file stands in for the end of the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="nothing was kept, make room there or choose another place") as caught:
            prepare(source, tmp_path / "data", algorithm="characters", quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'data'} (")
    assert list(tmp_path.iterdir()) == [source]


def test_a_killed_run_leaves_no_data_and_the_next_one_cleans_up(source, tmp_path):
    code = (
        "import sys, time; from leanformer.data import prepare as module\n"
        "def slow(*_): yield 'text ' * 99; time.sleep(600)\n"
        "module.documents = slow; module.prepare(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3], quiet=True)"
    )
    prepare(source, tmp_path / "given", vocab_size=503, quiet=True)
    arguments = [str(source), str(tmp_path / "data"), str(tmp_path / "given")]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    while not list(tmp_path.glob(".data.*.tmp/valid.bin")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "data").exists() and len(list(tmp_path.glob(".data.*.tmp"))) == 1
    prepare(source, tmp_path / "data", vocab_size=503, quiet=True)
    assert not list(tmp_path.glob(".data.*.tmp"))


def test_progress_is_shown_on_stderr_unless_quiet(source, tmp_path, capsys):
    prepare(source, tmp_path / "a", vocab_size=503)
    out, err = capsys.readouterr()
    assert not out and "tokenizing" in err
    prepare(source, tmp_path / "b", vocab_size=503, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_the_record_is_what_is_returned(source, tmp_path):
    record = prepare(source, tmp_path / "data", vocab_size=503, quiet=True)
    assert read_record(tmp_path / "data") == json.loads(json.dumps(record))
    assert record["sources"] == [str(source)] and record["settings"]["vocab_size"] == 503


def test_what_the_tokenizer_does_not_know_is_counted_and_said(text, tmp_path):
    """A tokenizer of English letters on a text of which every tenth word is Greek, then every word."""
    (tmp_path / "english.txt").write_text(text, encoding="utf-8")
    prepare(tmp_path / "english.txt", tmp_path / "english", vocab_size=300, quiet=True)
    words = ["the", "good", "old", "house", "stood", "by", "the", "river", "αβγ", "there"]
    (tmp_path / "mixed.txt").write_text("\n\n".join([" ".join(words * 5)] * 300), encoding="utf-8")
    given = {"tokenizer": tmp_path / "english", "quiet": True}
    record = prepare(tmp_path / "mixed.txt", tmp_path / "mixed", **given)
    train = Corpus.open(tmp_path / "mixed").train.tokens
    expected = (train == 1).sum() / ((train != 2) & (train != 3)).sum()
    assert record["unknown"]["train"] == pytest.approx(expected) and 0.01 < expected < 0.5
    assert any("% of the tokens of train" in note and "give another --tokenizer" in note for note in record["notes"])
    (tmp_path / "greek.txt").write_text("\n\n".join(["αβγ δεζ " * 50] * 300), encoding="utf-8")
    with pytest.raises(ValueError, match=r"does not know 100% of the tokens of train .*give another --tokenizer"):
        prepare(tmp_path / "greek.txt", tmp_path / "greek", **given)
    assert not (tmp_path / "greek").exists()
    assert prepare(tmp_path / "greek.txt", tmp_path / "own", vocab_size=300, quiet=True)["unknown"]["train"] == 0


def test_the_sizes_of_the_splits_and_a_small_held_out_part_are_printed(source, tmp_path, command):
    status, out, _ = command("prepare", source, "--out", tmp_path / "data", "--vocab-size", 300, "--keep-accents")
    record = json.loads((tmp_path / "data" / "data.json").read_text())
    assert status == 0 and record["settings"]["keep_accents"] is True
    for split, sizes in record["splits"].items():
        (line,) = [line.split() for line in out.splitlines() if line.startswith(split)]
        assert line[1:3] == [str(sizes["tokens"]), str(sizes["documents"])] and line[3].endswith("%")
    assert re.findall(r"note: only (\d+) sequences of 128 tokens held out for (\w+)", out) == [
        ("1", "valid"),
        ("3", "test"),
    ]


def test_further_texts_to_test_on_are_parts_of_their_own(source, chapters, tmp_path, command):
    (tmp_path / "wiki.txt").write_text(chapters[0])
    (tmp_path / "news.txt").write_text(chapters[1])
    named = ["--test-on", f"wiki={tmp_path / 'wiki.txt'}", "--test-on", f"news={tmp_path / 'news.txt'}"]
    status, _, _ = command("prepare", source, "--out", tmp_path / "data", "--algorithm", "characters", *named)
    assert status == 0
    corpus, tokenizer = Corpus.open(tmp_path / "data", verify=True), AutoTokenizer.from_pretrained(tmp_path / "data")
    assert list(corpus.others) == ["wiki", "news"]
    for name, chapter in zip(corpus.others, chapters, strict=False):
        assert read_back(corpus.others[name], tokenizer) == [chapter.strip().replace("\n", " ").lower()]
    assert Corpus.open(tmp_path / "data").test is not None


@pytest.mark.parametrize("name", ["test", "train", "../wiki", "Wiki", ".wiki", "a.b"])
def test_a_part_has_a_name_of_its_own(name, source, tmp_path):
    with pytest.raises(ValueError, match="a part's name is of small letters"):
        prepare(source, tmp_path / "data", test_on={name: source}, algorithm="characters", quiet=True)
    assert not (tmp_path / "data").exists()

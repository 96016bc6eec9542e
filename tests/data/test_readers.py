import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanformer.data import decoding, readers
from leanformer.data.readers import documents, files, shipped

TEXT = "one\ntwo\n\nthree ß\n  \t\n\nfour\n"
DOCUMENTS = ["one\ntwo", "three ß", "four"]
ROWS = [{"text": "one\n\ntwo", "id": 1}, {"text": "three ß", "id": 2}]
PACK = {"": bytes, ".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def jsonl(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def parquet(tmp_path):
    def write(rows, name="rows.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name, row_group_size=1)
        return tmp_path / name

    return write


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
def test_blank_lines_separate_documents_wherever_a_block_ends(write, packing, block, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", block)
    assert list(documents(write(f"a.txt{packing}", PACK[packing](TEXT.encode())))) == DOCUMENTS


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_jsonl_has_a_document_a_line(write, packing, block, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", block)
    path = write(f"a.jsonl{packing}", PACK[packing]((jsonl() + "\n").encode()))
    assert list(documents(path)) == ["one\n\ntwo", "three ß"]


def test_parquet_has_a_document_a_row(parquet):
    assert list(documents(parquet(ROWS))) == ["one\n\ntwo", "three ß"]


def test_the_field_can_be_named(write, parquet):
    rows = [{"body": "a", "text": 1}, {"body": "b", "text": 2}]
    assert list(documents(write("a.jsonl", jsonl(rows)), "body")) == ["a", "b"]
    assert list(documents(parquet(rows), "body")) == ["a", "b"]


def test_line_ends_and_byte_order_marks_of_other_systems_are_no_text(write):
    assert list(documents(write("a.txt", b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()))) == DOCUMENTS


def test_a_folder_is_read_in_the_order_of_its_names(write, tmp_path):
    write("b.txt", "second")
    write("a.jsonl", jsonl([{"text": "first"}]))
    write("notes.md", "not read")
    write(".hidden.txt", "not read")
    (tmp_path / "c").mkdir()
    write("c/d.txt.gz", gzip.compress(b"third"))
    write("c/e.CSV", "id,text\n1,fourth\n")
    assert list(documents(tmp_path)) == ["first", "second", "third", "fourth"]


def test_an_endless_document_is_cut(write, monkeypatch):
    """At a line end, else at a space, else anywhere; nothing is lost."""
    monkeypatch.setattr(decoding, "BLOCK", 7)
    monkeypatch.setattr(readers, "LONGEST", 20)
    text = "a line of text\nand another line\nwords words words words words " + "x" * 50
    parts = list(documents(write("a.txt", text)))
    assert parts[:3] == ["a line of text", "and another line", "words words words"]
    assert max(map(len, parts)) <= 20
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_progress_adds_up_to_the_stored_size(write, parquet):
    noise = "".join(f"{i * 7919 % 10007} " for i in range(300_000))
    for path in (write("a.txt", noise), write("b.txt.xz", lzma.compress(noise.encode())), parquet(ROWS)):
        steps = []
        list(documents(path, advance=steps.append))
        assert len(steps) > 1 and 0.9 * path.stat().st_size <= sum(steps) <= path.stat().st_size


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_a_file_is_read_as_it_is_needed(name, write, parquet, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", 100)
    rows = [{"text": f"document {i}"} for i in range(999)]
    text = "\n\n".join(row["text"] for row in rows)
    path = parquet(rows, name) if "parquet" in name else write(name, jsonl(rows) if "json" in name else text)
    steps = []
    assert next(documents(path, advance=steps.append)) == "document 0"
    assert sum(steps) < 0.1 * path.stat().st_size


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_hugging_face_data_set_is_streamed(kind, write, parquet, tmp_path, monkeypatch):
    """The real loader on a local folder; only the network is missing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write("train.jsonl", jsonl()) if kind == "jsonl" else parquet(ROWS, "train.parquet")
    name = f"hf:{tmp_path}"
    assert files(name) is None
    assert list(documents(name)) == ["one\n\ntwo", "three ß"]
    with pytest.raises(ValueError, match="row 1: no field 'body'; name another one with --field .*known: text, id"):
        list(documents(name, "body"))
    with pytest.raises(ValueError, match="no Hugging Face data set that can be loaded"):
        list(documents(f"{name}::test"))


def test_a_data_set_and_a_missing_file_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files("user/name") is None and files("user/name:config:split") is None and files("hf:name") is None
    (tmp_path / "user").mkdir()
    for missing in ("user/name", "name", "texts/a.txt", "./user/name", "/user/name"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            files(missing)


def test_the_shipped_text_is_found_by_name():
    assert shipped() == files("shipped:novels")[0]
    chapters = list(documents("shipped:novels"))
    assert len(chapters) == 144 and chapters[0].startswith("It is a truth universally acknowledged")
    with pytest.raises(FileNotFoundError, match="shipped:poems.*known: novels"):
        files("shipped:poems")


BAD = {
    "empty.txt": (b"", "empty.txt: the file is empty"),
    "blank.txt": (b" \n\n\t\n", "blank.txt: no text in it"),
    "blank.txt.xz": (lzma.compress(b"\n"), "blank.txt.xz: no text in it"),
    "binary.txt": (b"text\n" * 3 + b"\0\1\2", "binary.txt: binary, not text: a NUL byte at byte 15"),
    "latin.txt": ("fine\nschön\n".encode("latin1"), r"latin.txt: not UTF-8 at byte 8, line 2 \(byte 0xf6\)"),
    "cut.txt": ("fine ß".encode()[:-1], r"cut.txt: not UTF-8 at byte 5, line 1 \(byte 0xc3\)"),
    "cut.txt.xz": (lzma.compress(b"text" * 999)[:-9], "cut.txt.xz: truncated"),
    "cut.txt.gz": (gzip.compress(b"text" * 999)[:-9], "cut.txt.gz: truncated"),
    "cut.txt.bz2": (bz2.compress(b"text" * 999)[:-9], "cut.txt.bz2: truncated"),
    "no.txt.xz": (b"plain text", "no.txt.xz: damaged, or no .xz file"),
    "no.txt.gz": (b"plain text", "no.txt.gz: damaged, or no .gz file"),
    "no.txt.bz2": (b"plain text", "no.txt.bz2: damaged, or no .bz2 file"),
    "edited.txt.gz": (gzip.compress(b"text" * 999)[:-8] + b"\0" * 8, "edited.txt.gz: damaged"),
    "broken.jsonl": (b'{"text": "a"}\n\n{"text": \n', "broken.jsonl, line 3: not JSON"),
    "deep.jsonl": (b"[" * 50_000, "deep.jsonl, line 1: not JSON"),
    "list.json": (b'["a"]\n', "list.json, line 1: a JSON object is expected, not str"),
    "other.jsonl": (b'{"text": "a"}\n{"body": "b", "id": 1}\n', "line 2: no field 'text'; .* known: body, id"),
    "number.jsonl": (b'{"text": 1}\n', "line 1: field 'text' is int, not text"),
    "null.jsonl": (b'{"text": null}\n', "line 1: field 'text' is NoneType, not text"),
    "no.parquet": (b"plain text", "no.parquet: damaged, or no parquet file"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("block", [1, 4, 1 << 20])
def test_bad_files_are_named_with_the_place(name, block, write, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", block)
    content, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        list(documents(write(name, content)))
    assert "\n" not in str(error.value)


def test_a_parquet_column_that_is_missing_is_named(parquet):
    with pytest.raises(
        ValueError,
        match="rows.parquet, row 1: no field 'body'; name another one with --field .*known: text, id",
    ):
        list(documents(parquet(ROWS), "body"))
    with pytest.raises(ValueError, match="row 2: field 'text' is NoneType"):
        list(documents(parquet([{"text": "a"}, {"text": None}])))


def test_a_truncated_parquet_file_is_refused(parquet):
    path = parquet(ROWS)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged, or no parquet file"):
        list(documents(path))


def test_half_a_surrogate_pair_in_json_becomes_a_replacement_character(write):
    path = write("a.jsonl", '{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude00"}\n')
    assert list(documents(path)) == ["a\ufffdb", "\U0001f600"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no text in this folder"):
        files(tmp_path)


def test_a_data_set_saved_to_disk_is_streamed(tmp_path):
    from datasets import Dataset, DatasetDict

    texts = ["one two", " three ", "", "four"]
    whole = Dataset.from_dict({"body": texts})
    DatasetDict({"train": whole, "test": whole}).save_to_disk(tmp_path / "saved")
    assert list(documents(tmp_path / "saved" / "train", field="body")) == ["one two", "three", "four"]
    with pytest.raises(ValueError, match="several splits; name one: .*saved/test or .*saved/train$"):
        list(documents(tmp_path / "saved"))
    with pytest.raises(ValueError, match="row 1: no field 'text'"):
        list(documents(tmp_path / "saved" / "test"))


def test_a_data_set_is_streamed_from_where_the_hub_would_be(tmp_path):
    """A local folder of parquet files takes the same path through `datasets` as a name."""
    from datasets import Dataset

    (tmp_path / "set").mkdir()
    Dataset.from_dict({"text": ["one", "two"]}).to_parquet(tmp_path / "set" / "train.parquet")
    assert list(documents(f"hf:{tmp_path / 'set'}")) == ["one", "two"]

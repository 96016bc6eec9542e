"""Tables: every format and every way to write it, read a row at a time; every fault in one line with its place."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanformer.data import decoding, readers, tables
from leanformer.data.examples import load
from leanformer.data.rows import rows
from leanformer.data.tasks import Task

Write = Callable[[str, str | bytes], Path]
REVIEWS = Task("reviews", ("text",), ("bad", "good"))
LETTERS = Task("letters", ("text",), ("a", "b"), label_column="text")
BLOCKS = pytest.mark.parametrize("block", [1, 3, 7, 1 << 20])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def read(path: Path) -> list[tuple[str, dict]]:
    """Places without the folder, and rows."""
    return [(place.removeprefix(f"{path.parent}{os.sep}"), row) for place, row in tables.read(path)]


# --- what is read

SAME = {
    "plain.csv": "text,label\none,1\ntwo,0\n",
    "mark.csv": b"\xef\xbb\xbftext,label\none,1\ntwo,0\n",
    "windows.csv": "text,label\r\none,1\r\ntwo,0\r\n",
    "old_mac.csv": "text,label\rone,1\rtwo,0",
    "quoted.csv": '"text","label"\n"one","1"\n"two",0',
    "spaced.csv": " text , label\none,1\ntwo,0\n",
    "UPPER.CSV.GZ": gzip.compress(b"text,label\none,1\ntwo,0\n"),
    "plain.tsv": "text\tlabel\none\t1\ntwo\t0\n",
    "Windows.Tsv.Xz": lzma.compress(b"text\tlabel\r\none\t1\r\ntwo\t0\r\n"),
    "lines.jsonl": '{"text": "one", "label": "1"}\n{"text": "two", "label": "0"}',
    "array.json": '[{"text": "one", "label": "1"}, {"text": "two", "label": "0"}]\n\n',
    "array.JSONL.bz2": bz2.compress(b'\n [\n{"text": "one",\n "label": "1"}\n,\n{"text": "two", "label": "0"}\n]'),
}


@BLOCKS
@pytest.mark.parametrize("name", SAME)
def test_every_way_to_write_a_table_holds_the_same_rows(name: str, block: int, write: Write, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", block)
    expected = [{"text": "one", "label": "1"}, {"text": "two", "label": "0"}]
    path = write(name, SAME[name])
    assert list(tables.read_rows(path)) == expected
    assert [row for _, row in rows([path], ["label", "text"])] == expected
    assert list(readers.documents(path)) == ["one", "two"]


PLACES = {  # name: (content, the lines where rows begin)
    "blank.csv": ("\ntext,label\n\na,1\n\n   \nb,0\n\n\n", [4, 7]),
    "blank.tsv": ("\n\ntext\tlabel\na\t1\n\n  \nb\t0\n", [4, 7]),
    "newline.csv": ('text,label\n"a\nb\n\nc",1\r\n"d",0\n', [2, 6]),
    "blank.jsonl": ('\n{"text": "a"}\n\n  \n{"text": "b"}\n', [2, 5]),
    "array.json": ('\n[\n\n{"text":\n"a"},\n\n{"text": "b"},{"text": "c"}]', [4, 7, 7]),
}


@BLOCKS
@pytest.mark.parametrize("name", PLACES)
def test_a_row_is_where_an_editor_shows_it(name: str, block: int, write: Write, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", block)
    content, numbers = PLACES[name]
    assert [place for place, _ in read(write(name, content))] == [f"{name}, line {number}" for number in numbers]


def test_rows_of_parquet_are_counted_from_one_and_only_asked_columns_are_read(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "other": [[1], [2]]}), path)
    assert read(path) == [
        ("rows.parquet, row 1", {"text": "a", "other": [1]}),
        ("rows.parquet, row 2", {"text": "b", "other": [2]}),
    ]
    assert [row for _, row in tables.read(path, columns=["text"])] == [{"text": "a"}, {"text": "b"}]


def test_one_column_keeps_its_blanks_and_an_index_column_is_nobodys(write: Write):
    assert read(write("a.csv", 'text\n""\n\n x \n')) == [
        ("a.csv, line 2", {"text": ""}),
        ("a.csv, line 4", {"text": " x "}),
    ]
    assert read(write("b.csv", ",text,,\n0,a,,\n"))[0][1]["text"] == "a"


@pytest.mark.parametrize("size", [131_073, 3_000_000])
@pytest.mark.parametrize("quote", ['"', ""])
def test_a_cell_has_any_length(size: int, quote: str, write: Write):
    path = write("long.csv", f"text,label\n{quote}{'x' * size}{quote},good\nshort,bad\n")
    assert [len(row["text"]) for row in tables.read_rows(path)] == [size, 5]


@BLOCKS
def test_what_json_spells_reaches_the_tokenizer_whole(block: int, write: Write, monkeypatch):
    """Half a surrogate pair is no character; a whole one is, in keys and lists as well, wherever a block ends."""
    monkeypatch.setattr(decoding, "BLOCK", block)
    text = '{"text": "a\\ud800b", "\\uDFFF": ["\\ud83d\\ude00", {"x": "\\\\ud800"}], "n": -12.5e3, "t": [true, null]}'
    expected = {"text": "a\ufffdb", "\ufffd": ["\U0001f600", {"x": "\\ud800"}], "n": -12500.0, "t": [True, None]}
    for name, content in (("a.jsonl", text), ("a.json", f"[{text}]")):
        assert list(tables.read_rows(write(name, content))) == [expected]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"])
def test_memory_does_not_grow_with_the_file(name: str, write: Write, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", 1000)
    texts = [f"text number {i} {'x' * 200}" for i in range(2000)]
    objects = [json.dumps({"text": text}) for text in texts]
    content = {
        "a.json": f"[{', '.join(objects)}]",
        "a.jsonl": "\n".join(objects),
        "a.txt": "\n\n".join(texts),
    }.get(name, "\n".join(["text", *texts]))
    path = write(name, content)
    list(readers.documents(path))  # what is allocated once
    tracemalloc.start()
    try:
        assert sum(1 for _ in readers.documents(path)) == len(texts)
        assert sum(1 for _ in rows([path], ["text"])) >= len(texts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000 < 0.4 * path.stat().st_size


def test_one_endless_line_takes_linear_time(write: Write, monkeypatch):
    """Counted in characters that `lines` is given, not in seconds: each is looked at once."""
    seen = 0

    def blocks():
        nonlocal seen
        for _ in range(1000):
            seen += 1
            yield "x" * 10
        yield "\nlast"

    found = decoding.lines(blocks())
    assert next(found) == "x" * 10_000 and seen == 1000
    assert list(found) == ["last"]


# --- what is refused, or read, wherever it is met

DEEP, HUGE = "[" * 100_000, "1" * 5000
FAULTS = {  # name: (content, message)
    "empty.csv": (b"", ""),
    "empty.jsonl": (b"", ""),
    "blank.csv": (b"\n \n\r\n", ""),
    "blank.tsv": (b"\n\n", ""),
    "blank.json": (b" \n ", ""),
    "header.csv": (b"text,label\n", ""),
    "nothing.json": (b"[]", ""),
    "cut.csv.gz": (gzip.compress(b"text\n" + b"a\n" * 999)[:-9], ": truncated"),
    "cut.csv.xz": (lzma.compress(b"text\n" + b"a\n" * 999)[:-9], ": truncated"),
    "cut.json.bz2": (bz2.compress(b'[{"text": "a"}]')[:-9], ": truncated"),
    "no.tsv.gz": (b"text\na\n", ": damaged, or no .gz file"),
    "nul.csv": (b"text\na\n\0\n", ": binary, not text: a NUL byte at byte 7, line 3"),
    "nul.jsonl": (b'{"text": "a"}\r\n\0', ": binary, not text: a NUL byte at byte 15, line 2"),
    "wide.csv": ("text\na\n".encode("utf-16"), ": UTF-16, not UTF-8; convert it, for example: iconv -f UTF-16"),
    "wide.json": ('[{"text": "a"}]'.encode("utf-32"), ": UTF-32, not UTF-8; convert it, for example: iconv -f UTF-32"),
    "wide.tsv": ("text\na\n".encode("utf-16-le"), ": binary, not text: a NUL byte at byte 1, line 1"),
    "latin.csv": ("text\na\nö\n".encode("latin1"), r": not UTF-8 at byte 7, line 3 \(byte 0xf6\)"),
    "mac.csv": ("text\ra\rö\r".encode("latin1"), r": not UTF-8 at byte 7, line 3 \(byte 0xf6\)"),
    "dos.csv": ("text\r\na\r\nö".encode("latin1"), r": not UTF-8 at byte 9, line 3 \(byte 0xf6\)"),
    "mark.csv": (b"\xef\xbb\xbftext\n\xff", r": not UTF-8 at byte 8, line 2 \(byte 0xff\)"),
    "semicolons.csv": (b"text;label\na;1\n", ", line 1: columns are separated by semicolons, not by commas"),
    "tabs.csv": (b"text\tlabel\na\t1\n", ", line 1: columns are separated by tabs, not by commas"),
    "commas.tsv": (b"text,label\na,1\n", ", line 1: columns are separated by commas, not by tabs"),
    "twice.csv": (b"text,label,text\na,1,b\n", ", line 1: two columns are called 'text': rename one"),
    "nameless.csv": (b",,\na,b,c\n", ", line 1: no column has a name"),
    "short.csv": (b"text,label\na,1\n\nb\n", ", line 4 has 1 fields, the header 2: mend the line"),
    "long.csv": (b'text,label\na,"1\n2"\nb,c,0\n', ", line 4 has 3 fields, the header 2: mend the line"),
    "long.tsv": (b"text\tlabel\na\tb\t1\n", ", line 2 has 3 fields, the header 2: mend the line"),
    "open.csv": (b'text,label\na,1\n"b,0\nc,1\n', r', line 3 to 4: not CSV .*: write "" for a quotation mark'),
    "backslash.csv": (b'text,label\na,1\n"b \\"c\\" d",0\n', r", line 3: not CSV \(',' expected after '\"'\)"),
    "word.jsonl": (b'{"text": "a"}\nnothing\n', r", line 2: not JSON \(Expecting value\): one object per line, or one"),
    "pretty.json": (b'{\n "text": "a"\n}\n', ", line 1: not JSON .*: one object per line, or one array of objects"),
    "deep.jsonl": (f'{{"text": "a"}}\n{{"text": {DEEP}'.encode(), r", line 2: not JSON \(nested too deeply\)"),
    "deep.json": (DEEP.encode(), r", line 1: not JSON \(nested too deeply\)"),
    "huge.jsonl": (f'{{"text": {HUGE}}}'.encode(), r", line 1: not JSON \(Exceeds the limit"),
    "huge.json": (f'[\n{{"text": {HUGE}}}]'.encode(), r", line 2: not JSON \(Exceeds the limit"),
    "list.jsonl": (b'{"text": "a"}\n["b"]\n', ", line 2: a JSON object is expected, not list"),
    "list.json": (b'[{"text": "a"},\n["b"]]', ", line 2: a JSON object is expected, not list"),
    "number.json": (b"[1]", ", line 1: a JSON object is expected, not int"),
    "cut.json": (b'[{"text": "a"},\n{"text": "b', r", line 2: not JSON \(Unterminated string"),
    "open.json": (b'[{"text": "a"},\n{"text": "b"}\n', r", line 3: not JSON \(the array does not end\)"),
    "comma.json": (b'[{"text": "a"},\n]', r", line 2: not JSON \(a comma before the end of the array\)"),
    "no_comma.json": (b'[{"text": "a"}\n{"text": "b"}]', r", line 2: not JSON \('\{' where ',' is expected\)"),
    "more.json": (b'[{"text": "a"}]\n{"text": "b"}', r", line 2: not JSON \(text after the end of the array\)"),
    "broken.json": (b'[{"text": "a"},\n{"text":\n b}]', r", line 3: not JSON \(Expecting value\)"),
    "null.jsonl": (b'{"text": "a"}\n{"text": null}\n', ", line 2: (text is empty .null.|field 'text' is NoneType)"),
    "nan.jsonl": (b'{"text": "a"}\n{"text": NaN}\n', ", line 2: (text is empty .NaN.|field 'text' is float)"),
    "other.csv": (b"body\na\n", ", line 2: no (column|field) 'text'.* body"),
    "no.parquet": (b"text", ": damaged, or no parquet file"),
    "rows.dat": (b"PK\3\4\0\0", ": binary, not text|: no table; its suffix must be .jsonl"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("block", [4, 1 << 20])
def test_a_fault_is_one_line_with_its_place_for_every_verb(name: str, block: int, write: Write, monkeypatch):
    """What prepare, predict and embed, and fine-tuning read: the same message of the same reader."""
    monkeypatch.setattr(decoding, "BLOCK", block)
    content, message = FAULTS[name]
    path = write(name, content)
    split = write(f"letters/train.{name.partition('.')[2]}", content)
    write("letters/validation.jsonl", '{"text": "a"}\n')
    verbs = {
        "prepare": lambda: list(readers.documents(path)),
        "predict": lambda: list(rows([path], ["text"])),
        "finetune": lambda: load(LETTERS, split.parents[1]),
        "plug-in": lambda: list(tables.read_rows(path)),
    }
    for verb, run in verbs.items():
        if verb == "plug-in" and (not message or "text'" in message or "text is" in message):
            continue  # it does not ask for a column, and takes an empty table
        with pytest.raises((ValueError, OSError)) as caught:
            run()
        assert "\n" not in str(caught.value)
        if verb != "finetune" or path.suffix != ".dat":
            caught.match(f"({name}|train[^ ,:]*){message}")


def test_a_link_to_nowhere_is_called_so(write: Write, tmp_path: Path):
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "train.csv").symlink_to(tmp_path / "nowhere.csv")
    for run in (
        lambda: list(readers.documents(tmp_path / "gone.csv")),
        lambda: list(rows([tmp_path / "gone.csv"], ["text"])),
        lambda: load(REVIEWS, tmp_path),
    ):
        with pytest.raises(FileNotFoundError, match=r"(gone|train).csv: a link to a file that is not there; mend"):
            run()


def test_a_folder_called_like_a_table_is_a_folder(tmp_path: Path):
    (tmp_path / "x.csv").mkdir()
    for run in (
        lambda: list(readers.documents(tmp_path / "x.csv")),
        lambda: list(rows([tmp_path / "x.csv"], ["text"])),
    ):
        with pytest.raises(FileNotFoundError, match="x.csv: no text in this folder"):
            run()
    (tmp_path / "x.csv" / "b.csv").write_text("text\na\n")
    assert list(readers.documents(tmp_path / "x.csv")) == ["a"]


def test_a_pipe_is_read_once_where_once_is_enough(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="pipe: no file but a pipe or a device, which cannot be read twice"):
        list(readers.documents(pipe))
    writer = threading.Thread(target=pipe.write_text, args=("one\ntwo\n",))
    writer.start()
    assert [row["text"] for _, row in rows([pipe], ["text"])] == ["one", "two"]
    writer.join()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbfone\r\n\r\ntwo\n", ""),
        (
            b"one\n\nsch\xf6n\n",
            r"^standard input: not UTF-8 at byte 8, line 3 .*: iconv -f LATIN1 -t UTF-8 -$",
        ),
        (b"one\n\0", "^standard input: binary, not text: a NUL byte at byte 4, line 2"),
        ("one\n".encode("utf-16"), "^standard input: UTF-16, not UTF-8"),
        (b"", "^standard input: nothing in it"),
    ],
)
def test_standard_input_is_read_like_a_file(content: bytes, message: str, write: Write, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="latin1"))
    if message:
        with pytest.raises(ValueError, match=message):
            list(rows(["-"], ["text"]))
    else:
        path = write("same.txt", content)
        expected = [(place.replace(str(path), "standard input"), row) for place, row in rows([path], ["text"])]
        assert list(rows(["-"], ["text"])) == expected
        assert [row["text"] for _, row in expected] == ["one", "", "two"]


def test_standard_input_may_be_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="standard input is closed: pipe text into it"):
        list(rows(["-"], ["text"]))


def test_a_tab_in_the_first_line_is_a_table_and_in_a_later_one_white_space(write: Write):
    with pytest.raises(ValueError, match="a.txt, line 1: a tab in it, but one text per line is read .text.: .* .tsv"):
        list(rows([write("a.txt", "id\ttext\n1\ta\n")], ["text"]))
    found = rows([write("b.txt", "\tone \nt\two\n")], ["text"])
    assert [row["text"] for _, row in found] == ["\tone ", "t\two"]


def test_a_table_is_found_by_its_suffix_in_any_case(write: Write, tmp_path: Path):
    write("reviews/train.CSV", "text,label\na,1.0\nb,false\n")
    write("reviews/validation.Json", '[{"text": "c", "label": true}]')
    train, validation = load(REVIEWS, tmp_path)
    assert train.texts == [("a",), ("b",)] and train.labels.tolist() == [1, 0]
    assert validation["validation"].labels.tolist() == [1]
    write("reviews/train.csv", "")
    with pytest.raises(ValueError, match="holds train.CSV and train.csv: keep one of them"):
        load(REVIEWS, tmp_path)


def test_a_list_is_no_text(write: Write, tmp_path: Path):
    write("reviews/train.jsonl", '{"text": "a", "label": 1}\n{"text": ["a"], "label": 1}\n')
    write("reviews/validation.jsonl", '{"text": "a", "label": 1}\n')
    with pytest.raises(ValueError, match="train.jsonl, line 2: text is list, not text: name another column"):
        load(REVIEWS, tmp_path)


def test_every_csv_that_python_writes_is_read_back(write: Write):
    """Hypothesis without hypothesis: all pairs of cells made of two of the characters that matter."""
    cells = [a + b for a in ",\"\n 'é;\t" for b in ',"\n x']
    table = [[a, b] for a in cells for b in cells]
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *table])
    assert [[row["a"], row["b"]] for row in tables.read_rows(write("all.csv", text.getvalue()))] == table

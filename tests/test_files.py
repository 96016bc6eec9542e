import os
import subprocess
import sys
import time

import pytest
from safetensors import SafetensorError

from leanformer import files

IMPORT = "import runpy, types; files = types.SimpleNamespace(**runpy.run_path(sys.argv[2]))"
"""Without the packages that `import leanformer` brings."""


def staged(out):
    return files.new_directory(out, replace=False)


def test_the_directory_appears_whole(tmp_path):
    out = tmp_path / "a" / "out"
    with staged(out) as partial:
        (partial / "file").write_text("x")
        assert not out.exists()
    assert [file.name for file in out.iterdir()] == ["file"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error), staged(tmp_path / "out") as partial:
        (partial / "file").write_text("x")
        raise error("stop")
    assert not list(tmp_path.iterdir())


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with staged(tmp_path / "out") as partial:
        (partial / "file").write_text("x")
    assert (tmp_path / "out" / "file").is_file()


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_is_there_is_not_touched(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "directory":
        out.mkdir()
    mine = out / "mine" if kind == "directory" else out
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="out: there is something here already"), staged(out):
        pytest.fail("entered")
    assert mine.read_text() == "mine" and list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), staged(tmp_path / "file" / "out"):
        pytest.fail("entered")


def test_a_full_disk_names_the_place_asked_for(tmp_path):
    remedy = "nothing was kept, make room there or choose another place"
    message = f"^cannot write {tmp_path / 'out'} .No space left on device.: {remedy}$"
    with pytest.raises(OSError, match=message), staged(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, staged(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert caught.value.filename == str(tmp_path / "input")


def test_an_input_of_a_new_file_is_not_blamed_on_it_and_no_message_shows_a_hidden_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.new_file(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert caught.value.filename == str(tmp_path / "input")
    errors = (lambda at: OSError(f"{at} is full"), lambda at: OSError(28, "full", str(at)))
    for error in (*errors, lambda at: SafetensorError(f"{at} is full")):
        with pytest.raises(OSError) as caught, files.new_file(tmp_path / "out") as temporary:
            raise error(temporary)
        assert str(caught.value).startswith(f"cannot write {tmp_path / 'out'} (") and ".tmp" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_appeared_meanwhile_is_kept(tmp_path):
    with pytest.raises(FileExistsError, match="something here already"), staged(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "other"]


WRITES = {
    "file": "with files.new_file(Path(sys.argv[1])) as path: path.write_text('x'); time.sleep(600)",
    "directory": "with files.new_directory(Path(sys.argv[1])) as path: (path / 'file').touch(); time.sleep(600)",
}


@pytest.mark.parametrize("kind", WRITES)
def test_what_a_killed_process_leaves_is_removed_by_the_next_and_what_a_living_one_makes_is_not(tmp_path, kind):
    code = f"import sys, time; from pathlib import Path; {IMPORT}\n{WRITES[kind]}"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out"), files.__file__])
    while not list(tmp_path.glob(".out.*.tmp*")) or (kind == "directory" and not list(tmp_path.glob(".out.*/file"))):
        assert process.poll() is None
        time.sleep(0.01)
    write = files.new_file if kind == "file" else files.new_directory
    for expected in (2, 1):
        with write(tmp_path / "out") as path:
            path.touch()
            assert len(list(tmp_path.glob(".out.*.tmp"))) == expected
        process.kill()
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_other_machines_and_names_without_an_owner(tmp_path):
    """Theirs stay until nobody has touched them for a day; a name without an owner may be the user's own."""
    old, young = tmp_path / ".out.1-00000000.tmp", tmp_path / ".out.2-00000000.tmp"
    for folder in (old, young):
        folder.mkdir()
        (folder / "file").touch()
    for path in (old / "file", old):
        os.utime(path, (0, 0))
    for name in (".out.tmp", ".out.old", ".out.other.tmp", ".outer.tmp", "out.tmp"):
        (tmp_path / name).touch()
    files.write_text(tmp_path / "out", "x")
    left = {".out.2-00000000.tmp", ".out.tmp", ".out.old", ".out.other.tmp", ".outer.tmp", "out.tmp", "out"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert files.holdings(tmp_path) == ["out", "out.tmp"]


def test_sums_of_a_part_and_of_a_text_are_those_of_their_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("aßc".encode() + b"def")
    assert files.sha256(path) == files.sha256_of("aßcdef")
    assert files.sha256_of_part(path, 1, 3) == files.sha256_of("ßc")
    assert files.sha256_of_part(path, 4, 99) == files.sha256_of(b"def")
    assert files.sha256_of_part(tmp_path / "none", 0, 0) == files.sha256_of(b"")


def test_a_place_is_free_where_nothing_lies(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert [files.is_free(tmp_path / name) for name in ("absent", "empty", "file", "")] == [True, True, False, False]

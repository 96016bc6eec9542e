import os
import signal
import subprocess
import sys
import time

import pytest

from leanformer.data import staging
from leanformer.data.staging import staged


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
    with pytest.raises(OSError, match="nothing was kept") as caught, staged(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert caught.value.errno == 28 and caught.value.filename == str(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, staged(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert caught.value.filename == str(tmp_path / "input")


def test_what_a_killed_process_leaves_is_removed_by_the_next_and_what_a_living_one_makes_is_not(tmp_path):
    code = (
        "import runpy, sys, time; from pathlib import Path; staged = runpy.run_path(sys.argv[1])['staged']\n"
        "with staged(Path(sys.argv[2])) as partial: (partial / 'file').write_text('x'); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, staging.__file__, str(tmp_path / "out")])
    while not list(tmp_path.glob(".out.partial-*/file")):
        assert process.poll() is None
        time.sleep(0.01)
    with staged(tmp_path / "out"):
        assert len(list(tmp_path.glob(".out.partial-*"))) == 2
    (tmp_path / "out").rmdir()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    with staged(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

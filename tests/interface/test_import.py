"""The import is light, and what is public is found, listed and registered all the same."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import leanformer

ROOT = Path(__file__).parents[2]
HEAVY = [
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "rich",
    "matplotlib",
    "datasets",
    "tokenizers",
    "pydantic",
]


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_import_loads_nothing_heavy_and_is_quick():
    code = f"import sys, leanformer; print([m for m in {HEAVY} if m in sys.modules], 'torch' in dir(leanformer))"
    assert fresh(code) == "[] False"
    code = "import time; start = time.process_time(); import leanformer; print(time.process_time() - start)"
    assert min(float(fresh(code)) for _ in range(3)) < 0.2


def test_a_run_does_not_load_what_draws_reports():
    """Every run of a study would pay for it."""
    drawing = ["matplotlib", "scipy.stats", "pandas"]
    code = f"import sys, leanformer.interface.pretrain; print([m for m in {drawing} if m in sys.modules])"
    assert fresh(code) == "[]"


def test_every_public_name_is_listed_and_found():
    assert leanformer.__all__ == sorted(leanformer.__all__) and set(leanformer.__all__) <= set(dir(leanformer))
    for name in leanformer.__all__:
        assert getattr(leanformer, name) is getattr(leanformer, name)
    with pytest.raises(AttributeError, match="no attribute 'prepar'"):
        leanformer.prepar  # noqa: B018
    with pytest.raises(ImportError):
        from leanformer import nothing  # noqa: F401


def test_editors_see_what_is_found():
    """The imports for type checkers name the same objects."""
    tree = ast.parse(Path(leanformer.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) == set(leanformer.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(sys.modules.get(module) or __import__(module, fromlist=["_"]), name) is getattr(leanformer, name)


REGISTERED = "from transformers import AutoConfig; print(AutoConfig.for_model('leanformer').model_type)"


@pytest.mark.parametrize(
    "first",
    [
        "import leanformer",
        "import transformers, leanformer",
        "import leanformer, importlib.util; importlib.util.find_spec('transformers')",
        "import leanformer.data.tokenizer_files",
        "import leanformer.models.config",
        "import leanformer; leanformer.LeanformerConfig",
    ],
)
def test_transformers_knows_the_models_whichever_is_imported_first(first):
    assert fresh(f"{first}\n{REGISTERED}") == "leanformer"


def test_a_report_needs_no_torch(tmp_path):
    code = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *a: None if name.partition('.')[0] == 'torch' else find(name, *a)\n"
        "import leanformer\n"
        "try:\n"
        f"    leanformer.report({str(tmp_path)!r})\n"
        "except FileNotFoundError as error:\n"
        "    print('neither' in str(error), 'transformers' in sys.modules, leanformer.Comparison.__name__)"
    )
    assert fresh(code) == "True False Comparison"


def test_waiting_for_a_module_does_not_use_it_up(tmp_path, monkeypatch):
    from importlib.util import find_spec

    from leanformer.at_import import when_imported

    (tmp_path / "waited_for.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    when_imported("waited_for", lambda module: seen.append(module.value))
    assert find_spec("waited_for") is not None and seen == []
    import waited_for

    when_imported("waited_for", lambda module: seen.append(module.value + 1))
    assert seen == [3, 4]
    monkeypatch.delitem(sys.modules, "waited_for")
    assert __import__("waited_for").value == waited_for.value and seen == [3, 4]


def test_a_module_that_fails_to_load_is_waited_for_again(tmp_path, monkeypatch):
    from leanformer.at_import import when_imported

    file = tmp_path / "fails_once.py"
    file.write_text("raise RuntimeError('not yet')\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    when_imported("fails_once", seen.append)
    with pytest.raises(RuntimeError):
        __import__("fails_once")
    file.write_text(f"time = {time.time()!r}  # another size\n")
    __import__("importlib").invalidate_caches()
    assert __import__("fails_once").time and len(seen) == 1

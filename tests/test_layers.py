"""Who may import whom: the architecture, read off the import statements."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "leanformer"
THIRD = {"torch", "transformers", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "scipy", "sklearn"}
THIRD |= {"matplotlib", "sacrebleu", "rouge_score", "rich", "typer", "huggingface_hub", "pyarrow", "pandas", "tqdm"}
THIRD |= {"filelock", "pydantic", "x_transformers", "onnx", "onnxruntime", "submitit", "ray", "fsspec"}
SMALL = {
    "at_import",
    "cores",
    "errors",
    "files",
    "install",
    "locks",
    "markup",
    "progress",
    "records",
    "spelling",
    "version",
}
SMALL = {f"leanformer.{name}" for name in SMALL}

MAY_IMPORT = {
    "records": {"numpy", "pydantic"},
    "attention": {"torch"},
    "models": {"torch", "numpy", "transformers", "huggingface_hub", "safetensors", "leanformer.attention"},
    "conversion": {"torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "training", "evaluation", "settings")},
    "data": {"numpy", "tokenizers", "transformers", "datasets", "pyarrow", "rich", "fsspec"},
    "training": {"torch", "accelerate", "numpy", "rich", "safetensors", "transformers"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "settings")},
    "study": {"torch", "rich", "submitit", "ray"}
    | {f"leanformer.{name}" for name in ("models", "data", "training", "settings")},
    "distillation": {"torch", "accelerate", "numpy", "transformers"}
    | {f"leanformer.{name}" for name in ("attention", "models", "conversion", "data", "training", "settings")}
    | {f"leanformer.{name}" for name in ("evaluation", "inference")},
    "evaluation": {"torch", "accelerate", "safetensors", "numpy", "scipy", "sklearn", "sacrebleu", "rouge_score"}
    | {"transformers", "rich", "tokenizers"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "training", "reporting", "settings")},
    "finetuning": {"torch", "transformers", "accelerate", "safetensors", "numpy", "rich"}
    | {f"leanformer.{name}" for name in ("models", "data", "training", "evaluation", "settings")},
    "settings": {"leanformer.records"},
    "recipes": {"leanformer.settings"},
    "inference": {"torch", "transformers", "tokenizers", "numpy", "scipy", "safetensors"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "training", "evaluation", "exporting")},
    "linking": {"torch", "transformers", "accelerate", "numpy", "scipy", "sklearn", "rich"}
    | {f"leanformer.{name}" for name in ("models", "data", "training", "evaluation", "inference", "reporting", "study")}
    | {"leanformer.settings", "leanformer.settings.table"},
    "reporting": {"numpy", "scipy", "matplotlib"},
    "bench": {"torch", "transformers", "accelerate", "x_transformers", "numpy", "rich", "matplotlib"}
    | {
        f"leanformer.{name}"
        for name in ("attention", "models", "data", "training", "comparison", "reporting", "settings")
    },
    "robustness": {"torch", "numpy", "rich", "matplotlib", "transformers"}
    | {
        f"leanformer.{name}"
        for name in ("models", "data", "training", "evaluation", "finetuning", "reporting", "study", "settings")
    },
    "reproduction": {"numpy", "scipy", "rich", "matplotlib"}
    | {
        f"leanformer.{name}"
        for name in ("models", "data", "comparison", "robustness", "bench", "reporting", "study", "settings")
    },
    "exporting": {"torch", "transformers", "huggingface_hub", "safetensors", "numpy", "onnx", "onnxruntime"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "training", "evaluation", "settings")},
    "comparison": {"torch", "rich"}
    | {f"leanformer.{name}" for name in ("attention", "models", "data", "training", "reporting", "study", "settings")}
    | {"leanformer.recipes"},
    "interface": {"numpy", "pandas", "matplotlib", "transformers", "leanformer.study"}
    | {
        f"leanformer.{name}"
        for name in ("attention", "models", "data", "training", "recipes", "reporting", "settings", "evaluation")
        + ("comparison", "conversion", "distillation", "exporting", "finetuning", "inference")
    },
}


def imports(file: Path) -> set[str]:
    """Absolute names of the modules a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import; write it out"
            ours = node.module == "leanformer"  # `from leanformer import files` imports leanformer.files
            found |= {f"leanformer.{alias.name}" for alias in node.names} if ours else {node.module}
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folders_import_only_what_they_may(folder):
    own = f"leanformer.{folder}"
    for file in (PACKAGE / folder).rglob("*.py"):
        for name in imports(file):
            root = ".".join(name.split(".")[:2]) if name.startswith("leanformer") else name.split(".")[0]
            if root == own or root in SMALL or (root not in THIRD and not root.startswith("leanformer")):
                continue
            assert root in MAY_IMPORT[folder], f"{file.relative_to(SOURCE)} imports {name}"


def test_every_folder_has_its_rule():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_the_page_on_architecture_shows_the_floors_and_names_files_that_exist():
    """A floor is one above the highest that its folder imports; recursion without end would be a circle."""
    page = (SOURCE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    below = {path.stem: set() for path in PACKAGE.iterdir() if path.stem != "__init__" and path.suffix in ("", ".py")}
    below.pop("__pycache__", None)
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(file):
            if room in below and name.startswith("leanformer."):
                below[room] |= {name.split(".")[1]} & below.keys() - {room}

    def floor(room):
        return 1 + max(map(floor, below[room]), default=0)

    shown = dict(re.findall(r"^(\d)  (.+)$", page, re.M))
    assert {room: floor(room) for room in below} == {
        room: int(n) for n, rooms in shown.items() for room in rooms.split()
    }
    named = [path for path in re.findall(r"`([a-z_/]+\.py)`", page) if not path.startswith(("tests/", "src/"))]
    assert len(named) > 40 and not [path for path in named if not (PACKAGE / path).is_file()]


def test_mechanism_files_never_import_each_other():
    for file in (PACKAGE / "attention" / "mechanisms").glob("[!_]*.py"):
        assert not [name for name in imports(file) if ".mechanisms" in name], file.name


def test_no_file_is_two_ideas():
    for file in SOURCE.rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300, f"{file.relative_to(SOURCE)} is too long"


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_imports_nothing_heavy():
    heavy = sorted(THIRD - {"typer", "rich"} | {"leanformer"})
    code = f"import leanformer_cli, sys; print([m for m in {heavy} if m in sys.modules])"
    assert fresh(code).strip() == "[]"


def test_reports_need_no_torch():
    """With torch hidden, as on a machine that has only the records."""
    code = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *a: None if name.partition('.')[0] == 'torch' else find(name, *a)\n"
        "import leanformer.reporting\n"
        "print('transformers' in sys.modules)"
    )
    assert fresh(code).strip() == "False"

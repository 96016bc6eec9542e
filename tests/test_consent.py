"""No command runs code that a model or a tokenizer brings, and none asks whether it may."""

import ast
import builtins
import inspect
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from leanformer import files
from leanformer.training.run.record import RunDirectory

ROOT = Path(__file__).parent.parent
SOURCES = [file for folder in ("src", "benchmarks", "examples") for file in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LOADERS = {"from_pretrained", "from_config", "pipeline", "SentenceTransformer", "get_class_from_dynamic_module"}
OWN_EXPORT = "standalone_check.py"
"""It loads what this program has just written, in a process of its own, as a user would who trusts it."""


def loads(code: str) -> list[ast.Call]:
    """The calls in a piece of code that can run code of a model's."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) in LOADERS]


def consent(call: ast.Call) -> bool | None:
    found = [key.value for key in call.keywords if key.arg == "trust_remote_code"]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def test_every_load_passes_its_consent_explicitly():
    assert consent(loads("AutoTokenizer.from_pretrained(x)")[0]) is None  # the test tests something
    found = [(file, call) for file in SOURCES for call in loads(file.read_text(encoding="utf-8"))]
    assert len(found) > 5
    for file, call in found:
        if file.name == OWN_EXPORT or ast.unparse(call).startswith("super()"):  # the latter hands on what it was told
            continue
        assert consent(call) is False, f"{file.relative_to(ROOT)}:{call.lineno} does not say trust_remote_code=False"


def test_what_the_pages_show_is_explicit_where_a_folder_may_be_anybodys():
    """After `import leanformer` its own classes are known, and code in a folder is not looked at."""
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            if "import leanformer" not in block and "from leanformer" not in block:
                for call in loads(block):
                    assert consent(call) is not None, f"{page.name}: {ast.unparse(call)}"


def test_the_datasets_library_runs_no_code_of_a_data_set():
    from datasets import load_dataset

    assert "trust_remote_code" not in inspect.signature(load_dataset).parameters


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, data, tiny):
    """(a run whose tokenizer and config name code of their own, the file that this code would write)."""
    from leanformer.settings import read_settings
    from leanformer.training.pretrain import pretrain

    place = tmp_path_factory.mktemp("hostile")
    pretrain(read_settings(None, tiny[1::2]), data, place / "run", quiet=True)
    bare = place / "bare"
    shutil.copytree(place / "run" / "model", bare)
    written = place / "the code has run"
    for folder in (place / "run" / "model", bare):
        (folder / "evil.py").write_text(f"open({str(written)!r}, 'w').close()\n\nclass Evil: pass\n")
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        tokenizer |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps(config | {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}})
        )
        files.write_sums(folder)  # whoever brings the code brings its sums
    RunDirectory(place / "run").update(model=None)
    return place / "run", bare, written


COMMANDS = {
    "embed": ["embed", "{run}", "-", "--out", "{out}.npy"],
    "embed a folder": ["embed", "{bare}", "-", "--out", "{out}.npy"],
    "predict": ["predict", "{run}", "-", "--out", "{out}.jsonl"],
    "prepare": ["prepare", "shipped:novels", "--tokenizer", "{bare}", "--out", "{out}"],
    "finetune": ["finetune", "{run}", "--task", "sst2", "--task-data", "{tasks}", "--out", "{out}"],
    "evaluate": ["evaluate", "{run}", "--data", "{text}"],
    "attention": ["attention", "{run}", "--text", "hello", "--out", "{out}.html"],
    "distill": ["distill", "{run}", "--teacher", "{run}", "--data", "{other}", "--out", "{out}"],
    "init": ["pretrain", "--init", "{run}", "--data", "{other}", "--out", "{out}"],
    "convert": ["convert", "{bare}", "{out}", "--attention", "symmetric", "--text", "{text}"],
    "export": ["export", "{run}", "{out}", "--format", "hub"],
    "link": ["link", "{run}", "--data", "{ontology}", "--out", "{out}"],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory, text):
    """Something to read for each command."""
    from leanformer.data.prepare import prepare

    folder = tmp_path_factory.mktemp("places")
    (folder / "text.txt").write_text(text, encoding="utf-8")
    prepare(folder / "text.txt", folder / "other", vocab_size=200, quiet=True)
    (folder / "tasks" / "sst2").mkdir(parents=True)
    for split in ("train", "validation"):
        (folder / "tasks" / "sst2" / f"{split}.jsonl").write_text('{"sentence": "good", "label": 1}\n' * 9)
    (folder / "ontology").mkdir()
    (folder / "ontology" / "dictionary.jsonl").write_text('{"id": "C1", "names": ["hand"]}\n')
    for split in ("train", "validation", "test"):
        (folder / "ontology" / f"{split}.jsonl").write_text('{"mention": "hand", "gold": ["C1"]}\n')
    return {"text": folder / "text.txt", **{name: folder / name for name in ("other", "tasks", "ontology")}}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_asks_or_runs_the_code(name, hostile, places, command, tmp_path, monkeypatch):
    run, bare, written = hostile
    asked = []
    monkeypatch.setattr(builtins, "input", lambda *question: asked.append(question) or "y")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nhello\n"))
    named = {"run": run, "bare": bare, "out": tmp_path / "out", **places}
    status, _, err = command(*(argument.format(**named) for argument in COMMANDS[name]))
    assert not asked and not written.exists()
    assert status == 2 and "code of its own" in err, err
    assert len([line for line in err.splitlines() if line.startswith("leanformer: ")]) == 1 and "Traceback" not in err

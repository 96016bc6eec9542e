"""Damaged records, settings and configs by the hundred: each is refused in one line, or read; nothing else.

    python tests/records/fuzz.py --number 600 --seed 1        prints what was tried, and every fault

A fault is any exception but ValueError, OSError and ArithmeticError, a message of several lines, or the memory that the
process may have beyond what it had at the start. Half of the damaged records carry a checksum that is right, so that
what reads them is reached.
"""

import argparse
import contextlib
import io
import json
import random
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from leanformer.conversion.convert import convert
from leanformer.data.corpus import Corpus
from leanformer.data.integrity import NOTE
from leanformer.data.prepare import prepare
from leanformer.evaluation import pretrained
from leanformer.models import LeanformerConfig, saved
from leanformer.records import reading
from leanformer.reporting.write import write_report
from leanformer.settings import read_settings, settings_from
from leanformer.training.pretrain import pretrain
from leanformer.training.run.record import RunDirectory
from leanformer.verification import verify

SPARE = 1 << 30
"""Bytes of address space beyond those at the start."""
WORDS = ["Anna", "Ben", "Carla", "likes", "hates", "buys", "tea", "fish", "jam", "in", "Paris", "Lima", "Oslo"]
SETTINGS = {
    "model": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 16,
    },
    "training": {
        "max_steps": 4,
        "batch_size": 4,
        "sequence_length": 16,
        "threads": 1,
        "checkpoint_every": 1,
        "log_every": 1,
        "validation_sequences": 2,
        "precision": "fp32",
    },
}
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 2**200, 1e308, -0.5, float("nan"), float("inf"), "", "x",
    "../x", "/etc/hostname", "\x00", "\ud800", "é" * 300, "none", [], [[]], [1, "a"], {}, {"a": 1}, {"": None},
    [None] * 50,
]  # fmt: skip


class Damage:
    """Changes to a record, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def record(self, value: dict[str, Any]) -> str:
        """The text of a damaged record: a value of another kind, a key that is gone, new or twice there, or a torn
        file."""
        value = json.loads(json.dumps(value))
        draw = self.random.random()
        if draw < 0.12:
            return self.text(json.dumps(value))
        for _ in range(self.random.choice([1, 1, 1, 2, 5])):
            holder, key = self.place(value)
            action = self.random.random()
            if action < 0.2 and isinstance(holder, dict):
                del holder[key]
            elif action < 0.3 and isinstance(holder, dict):
                holder[self.random.choice(["x", "", "../y", "schema", "a.b"])] = deepcopy(self.random.choice(VALUES))
            elif action < 0.4 and isinstance(holder[key], int | float):
                holder[key] = holder[key] * self.random.choice([-1, 2, 10**6, 10**18, 0.5])
            else:
                holder[key] = deepcopy(self.random.choice(VALUES))
        return json.dumps(reading.sealed(value) if self.random.random() < 0.5 else value)

    def place(self, value: Any) -> tuple[Any, Any]:
        """A key or an index anywhere in the record."""
        places: list[tuple[Any, Any]] = []

        def walk(holder: Any) -> None:
            for key in holder if isinstance(holder, dict) else range(len(holder)):
                places.append((holder, key))
                if isinstance(holder[key], dict | list):
                    walk(holder[key])

        walk(value)
        return self.random.choice(places) if places else ({"": 0}, "")

    def text(self, text: str) -> str:
        """Cut off, empty, another document, too deep, or with a few characters changed."""
        draw, at = self.random.random(), self.random.randrange(len(text) + 1)
        if draw < 0.2:
            return text[:at]
        if draw < 0.4:
            return self.random.choice(["", "[]", "null", "3", '"x"', "[" * 100_000, "{" * 9, "9" * 5000, "NaN"])
        letters = list(text)
        for _ in range(self.random.choice([1, 1, 3, 20])):
            letters[self.random.randrange(len(letters))] = self.random.choice('{}[]",:0e-\n\tx\\é')
        return "".join(letters)


class Samples:
    """Small whole directories, made once, and what reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = random.Random(0)
        text = "\n\n".join(" ".join(draw.choice(WORDS) for _ in range(40)) for _ in range(120))
        (folder / "text.txt").write_text(text)
        self.data, self.run = folder / "data", folder / "run"
        prepare(folder / "text.txt", self.data, vocab_size=80, sequence_length=16, valid_fraction=0.1, quiet=True)
        pretrain(settings_from(SETTINGS), self.data, self.run, quiet=True)
        record = RunDirectory(self.run).read()
        self.comparison = folder / "comparison"
        runs = [{"attention": "dot_product", "seed": 1, "learning_rate": 1e-4, "path": "runs/dot_product/seed-1"}]
        plan = {"schema": 1, "attention": ["dot_product"], "baseline": "dot_product", "seeds": [1], "tasks": []}
        plan |= {"learning_rates": None, "task_seeds": 1, "settings": record["settings"], "data": record["data"]}
        shutil.copytree(self.run, self.comparison / runs[0]["path"])
        (self.comparison / "comparison.json").write_text(json.dumps(reading.sealed({**plan, "runs": runs})))

    def targets(self) -> dict[str, tuple[Path, str, Callable[[Path], Any]]]:
        """Name -> (directory to copy, the file in it, what reads the copy)."""
        return {
            "run.json, resumed": (self.run, "run.json", _resume),
            "run.json, asked": (self.run, "run.json", _ask),
            "run.json, reported": (self.run, "run.json", write_report),
            "curve.jsonl, resumed": (self.run, "curve.jsonl", _resume),
            "curve.jsonl, reported": (self.run, "curve.jsonl", write_report),
            "state.json": (self.run, "checkpoint/step-00000003/state.json", _resume_resummed),
            "SHA256SUMS of a checkpoint": (self.run, "checkpoint/step-00000003/SHA256SUMS", _resume),
            "SHA256SUMS of a model": (self.run, "model/SHA256SUMS", _ask),
            "config.json, asked": (self.run, "model/config.json", _ask_resummed),
            "config.json, converted": (self.run, "model/config.json", _convert),
            "tokenizer.json": (self.run, "model/tokenizer.json", _ask_resummed),
            "tokenizer_config.json": (self.run, "model/tokenizer_config.json", _ask_resummed),
            "index of weights": (self.run, "model/model.safetensors.index.json", _convert),
            "data.json": (self.data, "data.json", Corpus.open),
            "note of what was verified": (self.data, NOTE, Corpus.open),
            "comparison.json, reported": (self.comparison, "comparison.json", write_report),
            "comparison.json, verified": (self.comparison, "comparison.json", verify),
            "settings.json": (self.run, "settings.json", _settings),
            "settings.toml": (self.run, "settings.toml", _settings),
        }

    def content(self, directory: Path, file: str) -> Any:
        if file == "settings.json":
            return SETTINGS
        if file == "settings.toml":
            lines = [f"{key} = {json.dumps(value)}" for key, value in SETTINGS["training"].items()]
            return "[training]\n" + "\n".join(lines) + "\n"
        if file.endswith("index.json"):
            weights = saved.weight_shapes(self.run / "model")
            return {"metadata": {}, "weight_map": dict.fromkeys(weights, saved.WEIGHTS)}
        if file == NOTE and not (directory / file).is_file():
            Corpus.open(directory)
        text = (directory / file).read_text(encoding="utf-8")
        if not file.endswith(".json"):
            return text
        value = json.loads(text)
        value.pop(reading.CHECKSUM, None)
        return value


def _resume(run: Path) -> None:
    shutil.rmtree(run / "model")
    with contextlib.suppress(ValueError, OSError):
        RunDirectory(run).update(status="running", results=None)
    pretrain(None, None, run, resume=True, quiet=True)


def _resume_resummed(run: Path) -> None:
    from leanformer.files import write_sums

    write_sums(run / "checkpoint/step-00000003")
    _resume(run)


def _ask(run: Path) -> None:
    folder = saved.locate(run)
    pretrained.load_tokenizer(folder)("Anna likes tea", return_tensors="pt")
    pretrained.load_encoder(folder)


def _ask_resummed(run: Path) -> None:
    _unvouched(run)
    _ask(run)


def _unvouched(run: Path) -> None:
    """Nothing says any more what the model's files were."""
    (run / "model" / "SHA256SUMS").unlink()
    RunDirectory(run).update(model=None)


def _convert(run: Path) -> None:
    _unvouched(run)
    convert(run, run / "converted")


def _settings(run: Path) -> None:
    (file,) = run.glob("settings.*")
    settings = read_settings(file)
    LeanformerConfig.from_settings({"vocab_size": 80, **settings.model})


def fuzz(number: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(outcomes by target, faults) of `number` damaged files."""
    tried: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        samples = Samples(Path(place))
        targets = list(samples.targets().items())
        for directory, *_ in samples.targets().values():
            write_report(directory) if directory != samples.data else None  # whatever it imports is there by now
        copy = Path(place) / "copy"

        def outcome_of(target: tuple[Path, str, Callable[[Path], Any]], text: str) -> tuple[str, str]:
            directory, file, read = target
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(directory, copy)
            (copy / file).write_bytes(text.encode("utf-8", "surrogatepass"))
            return _outcome(read, copy)

        for name, target in targets:  # what is whole is read
            content = samples.content(*target[:2])
            outcome, _ = outcome_of(target, content if isinstance(content, str) else json.dumps(content))
            faults += [] if outcome == "read" else [f"{name} is not read though it is whole"]
        _limit()
        for i in range(number):
            damage = Damage(seed * 1_000_003 + i)
            name, target = targets[i % len(targets)]
            content = samples.content(*target[:2])
            text = damage.text(content) if isinstance(content, str) else damage.record(content)
            outcome, fault = outcome_of(target, text)
            tried[f"{name}: {outcome}"] += 1
            if fault:
                faults.append(f"case {i}, {name}: {fault}\n{text[:2000]}")
    return tried, faults


def _outcome(read: Callable[[Path], Any], copy: Path) -> tuple[str, str]:
    try:
        read(copy)
    except (ValueError, OSError, ArithmeticError) as error:
        return "refused", f"several lines: {error}" if "\n" in str(error).strip() else ""
    except BaseException:
        return "fault", traceback.format_exc()
    return "read", ""


def _limit() -> None:
    """No more memory than SPARE beyond what there is now; where the system does not tell, no limit."""
    status = Path("/proc/self/status")
    if status.exists():
        sizes = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        resource.setrlimit(resource.RLIMIT_AS, (int(sizes["VmSize"].split()[0]) * 1024 + SPARE,) * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried, faults = fuzz(given.number, given.seed)
    print("\n".join(f"{count:5} {name}" for name, count in sorted(tried.items())))
    print("\n".join(faults))
    print(f"{sum(tried.values())} damaged files, {len(faults)} faults, {time.monotonic() - started:.0f} s")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()

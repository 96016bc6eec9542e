"""What the documented commands read, by the names that the pages give it: tiny, and made when it is first asked for."""

import csv
import importlib.util
import json
import lzma
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.documentation.shrinking import MODEL, TRAINING, smaller

WORDS = ["good", "bad", "lovely", "dull", "fine", "awful", "warm", "cold", "bright", "dark"]
CONFIG = {
    "model": MODEL | {"positions": '"rotary"'},
    "training": {k: v for k, v in TRAINING.items() if v not in ("none", "false")} | {"schedule": '"constant"'},
}
LEARNED = "model.positions=learned"
"""What a checkpoint of BERT has."""


class Inputs:
    """A store of everything that has been made; `run` carries out a command in a directory."""

    def __init__(self, store: Path, text: str, run: Callable[[Sequence[str], Path], None]) -> None:
        self.store, self.text, self._run = store, text, run

    def knows(self, name: str) -> bool:
        return name in MAKERS

    def place(self, name: str, directory: Path) -> None:
        """Puts a copy into the directory."""
        made, target = self.made(name), directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target) if made.is_dir() else shutil.copy(made, target)

    def made(self, name: str) -> Path:
        path = self.store / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, path)
        return path

    def run(self, *arguments: object) -> None:
        self._run([str(each) for each in arguments], self.store)


def plain(inputs: Inputs, path: Path) -> None:
    with (lzma.open if path.suffix == ".xz" else open)(path, "wt", encoding="utf-8") as file:
        file.write(inputs.text)


def lines(inputs: Inputs, path: Path) -> None:
    found = "".join(f"a {word} day\n" for word in WORDS)
    path.write_bytes(lzma.compress(found.encode()) if path.suffix == ".xz" else found.encode())


def sentences(inputs: Inputs, path: Path) -> None:
    """As many as a distillation reads at least."""
    path.write_text("".join(f"a {one} day and a {other} night\n" for one in WORDS for other in WORDS), encoding="utf-8")


def reviews(inputs: Inputs, path: Path) -> None:
    """300 rows of two classes; a file of another name has other texts."""
    rows = [
        {"review": f"{path.stem} {i} a {WORDS[i % 10]} day", "category": ("good", "bad")[i % 2]} for i in range(300)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def similar(inputs: Inputs, path: Path) -> None:
    """Pairs of sentences with a score."""
    rows = [f"a {one} day,a {other} day,{i / 10}" for i, (one, other) in enumerate(zip(WORDS, WORDS[1:], strict=False))]
    path.write_text("sentence1,sentence2,score\n" + "\n".join(rows) + "\n", encoding="utf-8")


def names(inputs: Inputs, path: Path) -> None:
    sentence = "{0} B-PER\nwent O\nto O\n{1} B-LOC\n. O\n\n"
    places = [(f"{path.stem}{i}", word) for i in range(20) for word in WORDS]
    path.write_text("".join(sentence.format(*each) for each in places), encoding="utf-8")


def tasks(inputs: Inputs, path: Path) -> None:
    """A folder per task that a page names."""
    texts = [f"a {WORDS[i % 10]} day {i}" for i in range(1200)]
    labels = [i % 2 for i in range(1200)]
    single = {"sst2": "sentence", "imdb": "text", "cr": "text"}
    splits = {"sst2": ("train", "validation"), "imdb": ("train", "test"), "cr": ("train", "validation")}
    rows: dict[str, list[dict[str, object]]] = {
        f"{task}/{split}": [{column: text, "label": label} for text, label in zip(texts, labels, strict=True)]
        for task, column in single.items()
        for split in splits[task]
    }
    pairs = [{"sentence1": text, "sentence2": "a day", "label": i} for text, i in zip(texts, labels, strict=True)]
    rows |= {f"rte/{split}": list(pairs) for split in ("train", "validation")}
    translated = [{"translation": {"en": text, "de": f"ein {text}"}} for text in texts[:200]]
    rows |= {
        f"multi30k_ende/{split}": list(translated[i::3]) for i, split in enumerate(("train", "validation", "test_2016"))
    }
    for name, found in rows.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        some = found if name.endswith("train") else found[:100]
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")


def minimal_pairs(inputs: Inputs, path: Path) -> None:
    path.mkdir()
    rows = [{"sentence_good": f"a {word} day", "sentence_bad": f"day {word} a"} for word in WORDS]
    (path / "order.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def mentions(inputs: Inputs, path: Path) -> None:
    source = Path(__file__).parent.parent / "linking" / "ontology.py"
    spec = importlib.util.spec_from_file_location("ontology", source)
    assert spec and spec.loader
    ontology = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ontology)
    made = ontology.write(inputs.store / "ontology")
    shutil.copytree(made, path)
    shutil.copy(made.parent / "dictionary.jsonl", path)


def config(inputs: Inputs, path: Path) -> None:
    tables = [[f"[{name}]", *(f"{key} = {value}" for key, value in table.items())] for name, table in CONFIG.items()]
    path.write_text("\n".join(line for table in tables for line in table) + "\n", encoding="utf-8")


def data(inputs: Inputs, path: Path) -> None:
    inputs.run("prepare", inputs.made("text.txt"), "--out", path, "--vocab-size", "300", "--quiet")


def pairs(inputs: Inputs, path: Path) -> None:
    task = ("--task", "multi30k_ende", "--task-data", inputs.made("TASKS"))
    inputs.run("prepare", *task, "--out", path, "--vocab-size", "300", "--quiet")


def run(*settings: str, data: str = "DATA") -> Callable[[Inputs, Path], None]:
    def make(inputs: Inputs, path: Path) -> None:
        overrides = [part for each in settings for part in ("--set", each)]
        config, read = inputs.made("CONFIG.toml"), inputs.made(data)
        inputs.run("pretrain", config, "--data", read, "--out", path, "--quiet", *overrides)

    return make


def tuned(inputs: Inputs, path: Path) -> None:
    words = ["finetune", inputs.made("RUN"), "--data", inputs.made("reviews.csv"), "--out", path]
    inputs.run(*smaller([*map(str, words), "--text", "review", "--label", "category"]))


def bert(inputs: Inputs, path: Path) -> None:
    inputs.run("convert", inputs.made("RUN"), path, "--to", "bert")


def convbert(inputs: Inputs, path: Path) -> None:
    from transformers import ConvBertConfig, ConvBertForMaskedLM

    bert = inputs.made("BERT")
    known = json.loads((bert / "config.json").read_text(encoding="utf-8"))
    sizes = {key: known[key] for key in (*MODEL, "vocab_size")}
    ConvBertForMaskedLM(ConvBertConfig(**sizes, embedding_size=8, conv_kernel_size=3, num_groups=1)).save_pretrained(
        path
    )
    for file in bert.glob("tokenizer*"):
        shutil.copy(file, path)


def student(inputs: Inputs, path: Path) -> None:
    inputs.run("convert", inputs.made("RUN"), path, "--attention", "pairwise", "--text", inputs.made("text.txt"))


def comparison(inputs: Inputs, path: Path) -> None:
    arms = ("--attention", "dot_product,shared,dot_product[parameters=shared]", "--seeds", "1")
    config, read = inputs.made("CONFIG.toml"), inputs.made("DATA")
    inputs.run("compare", config, "--data", read, "--out", path, *arms, "--quiet")


MAKERS: dict[str, Callable[[Inputs, Path], None]] = {
    **dict.fromkeys(("text.txt", "sample.txt", "articles.txt", "novels.txt", "held-out.txt", "FILE"), plain),
    **dict.fromkeys(("my-text.txt.xz", "talk.txt.xz"), plain),
    **dict.fromkeys(("lines.txt", "lines.txt.xz", "new.txt", "reviews.txt"), lines),
    "sentences.txt": sentences,
    "pairs.csv": similar,
    **dict.fromkeys(("reviews.csv", "reviews.jsonl", "new.csv", "later.csv"), reviews),
    **dict.fromkeys(("names.conll", "new.conll"), names),
    **dict.fromkeys(("GLUE", "TASKS"), tasks),
    **dict.fromkeys(("BLIMP", "BLIMP_SUPPLEMENT"), minimal_pairs),
    **dict.fromkeys(("CONFIG", "CONFIG.toml"), config),
    **dict.fromkeys(("RUN", "RUN2", "TEACHER", "MODEL", "PATH", "SRC"), run(LEARNED)),
    "runs/dot_product": run(),
    "MENTIONS": mentions,
    **dict.fromkeys(("DATA", "TOKENS"), data),
    "PAIRS": pairs,
    "TRANSLATOR": run("training.objective=seq2seq", data="PAIRS"),
    "runs/symmetric": run("model.attention=symmetric"),
    "TUNED": tuned,
    "BERT": bert,
    "CONVBERT": convbert,
    "STUDENT": student,
    "DIR": comparison,
}
"""Names of files and directories, as the pages write them."""

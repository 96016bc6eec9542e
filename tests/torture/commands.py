"""The commands that are killed, each in a directory of its own, `out` in it; and what they read, made once."""

import importlib.util
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.torture.server import Server

SIZES = {
    "model.hidden_size": 32,
    "model.num_hidden_layers": 2,
    "model.num_attention_heads": 4,
    "model.intermediate_size": 64,
    "model.max_position_embeddings": 32,
    "training.max_steps": 60,
    "training.batch_size": 8,
    "training.sequence_length": 32,
    "training.validate_every": 20,
    "training.validation_sequences": 16,
    "training.log_every": 5,
    "training.checkpoint_every": 10,
    "training.threads": 1,
}
SET = [argument for key, value in SIZES.items() for argument in ("--set", f"{key}={value}")]
LINKING = [f"--set=linking.{key}={value}" for key, value in {"epochs": 2, "checkpoint_every": 5, "threads": 1}.items()]
TUNING = ["--task-data", "{m}/tasks", "--set", "finetuning.threads=1", "--set", "finetuning.epochs=3"]
TUNING += ["--set", "finetuning.max_length=24"]


@dataclass(frozen=True)
class Command:
    name: str
    words: tuple[str, ...]
    """`{m}` is the material, two directories up."""
    refuses: str = ""
    """What the same command says, rightly, if the killed one had already made everything."""
    copies: str = ""
    """Of the material: becomes `out`, which the command works on."""

    @property
    def arguments(self) -> list[str]:
        return [word.replace("{m}", "../material") for word in self.words]

    def directory(self, folder: Path, material: Path) -> Path:
        """A new one; the material is beside it, so that records name it alike."""
        folder.mkdir(parents=True)
        beside = folder.parent / "material"
        if not beside.exists():
            beside.symlink_to(material)
        if self.copies:
            shutil.copytree(material / self.copies, folder / "out")
        return folder


def _commands() -> list[Command]:
    data, runs = ["--data", "{m}/data"], ["--out", "out", "--autoresume"]
    there, made = "there is something here already", "exists already"
    return [
        Command("prepare", ("prepare", "{m}/text.txt", "--out", "out", "--vocab-size", "400"), there),
        Command("pretrain", ("pretrain", *data, *runs, *SET)),
        Command("distill", ("distill", "{m}/student", "--teacher", "{m}/run", *data, *runs, *SET[10:])),
        Command("finetune", ("finetune", "{m}/run", "--task", "sst2", "--out", "out", "--seeds", "2", *TUNING)),
        Command("link", ("link", "rescnn", "tfidf", "--data", "{m}/ontology/made", "--out", "out", *LINKING)),
        Command(
            "compare",
            ("compare", *data, *runs, "--attention", "dot_product,shared", "--seeds", "1", "--jobs", "2", *SET),
        ),
        Command(
            "robustness",
            ("robustness", "{m}/run", "--task", "sst2", "--noise", "typos", "--levels", "0.2", "--out", "out", *TUNING),
        ),
        Command("convert", ("convert", "{m}/run", "out", "--attention", "symmetric", "--text", "{m}/text.txt"), made),
        Command("export", ("export", "{m}/run", "out"), made),
        Command("report", ("report", "out", "--format", "csv"), copies="comparison"),
        Command("embed", ("embed", "{m}/run", "{m}/lines.txt", "--out", "out/vectors.npy")),
        Command("predict", ("predict", "{m}/tuned", "{m}/lines.txt", "--out", "out/answers.jsonl")),
    ]


COMMANDS = {command.name: command for command in _commands()}


def make_material(folder: Path, server: Server) -> Path:
    """text.txt, lines.txt, tasks/, ontology/, data/, run/, student/, tuned/, comparison/"""
    folder.mkdir()
    draw = random.Random(0)
    words = [f"w{draw.randrange(10**5):05}" for _ in range(150)]
    text = [" ".join(draw.choices(words, k=12)) for _ in range(3000)]
    (folder / "text.txt").write_text("\n\n".join(text) + "\n")
    (folder / "lines.txt").write_text("\n".join(text[:400]) + "\n")
    (folder / "tasks/sst2").mkdir(parents=True)
    for split, size in (("train", 200), ("validation", 80)):
        rows = [{"sentence": " ".join(draw.choices(words, k=8)), "label": draw.randrange(2)} for _ in range(size)]
        (folder / "tasks/sst2" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = importlib.util.spec_from_file_location("ontology", Path(__file__).parent.parent / "linking/ontology.py")
    assert spec is not None and spec.loader is not None
    ontology = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ontology)
    (folder / "ontology").mkdir()
    ontology.write(folder / "ontology")
    compared = ["--data", "data", "--out", "comparison", "--attention", "dot_product,shared", "--seeds", "1", *SET]
    for arguments in (
        ["prepare", "text.txt", "--out", "data", "--vocab-size", "400"],
        ["pretrain", "--data", "data", "--out", "run", *SET],
        ["pretrain", "--data", "data", "--out", "student", *SET, "--set", "training.seed=2"],
        ["finetune", "run", "--task", "sst2", "--out", "tuned", *(word.replace("{m}/", "") for word in TUNING)],
        ["compare", *compared],
    ):
        if server.start(arguments, folder).wait():
            raise SystemExit(f"{' '.join(arguments)} fails:\n{(folder / 'log').read_text()}")
    return folder

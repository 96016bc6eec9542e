"""The rule by which a documented command becomes a small one: the same verb and options, with less to do.

budgets     a budget in time or tokens becomes 6,400 tokens, which are the 50 steps that a plan needs
seeds       N seeds become one, and as many as the page asks for later, with --resume, become two
numbers     tokens, steps and layers that a page names become a few
sizes       training, fine-tuning and benchmarks get the smallest models, texts and numbers of rounds
dry runs    what takes minutes at any size is planned and not run
words       a placeholder that no file can be named by becomes a value; the settings of an arm become the smallest
"""

import re
from collections.abc import Sequence

TOKENS = ["--tokens", "6400"]
VALUES = {
    "--hours": TOKENS,
    "--minutes": TOKENS,
    "--seeds 3": ["--seeds", "1"],
    "--seeds 5": ["--seeds", "1"],
    "--seeds 10": ["--seeds", "2"],
    "--seeds 11-25": ["--seeds", "11-12"],
    "--learning-rates 5e-4,1e-3,2e-3": ["--learning-rates", "5e-4,1e-3"],
    "--tuning-seeds 2": ["--tuning-seeds", "1"],
    "--extend STEPS": ["--extend", "6"],
    "--keep-layers 2,4,6": ["--keep-layers", "2"],
    "--share-layers blocks:3": ["--share-layers", "blocks:2"],
}
NUMBERS = {"max_tokens=50_000_000": "max_tokens=512"} | {
    f"max_steps={n}": f"max_steps={n // 500}" for n in (1000, 1500, 2000)
}
WORDS = {"TEXT...": "text.txt", "configs/recipes/ladder/01-rotary.toml": "CONFIG.toml"}
MODEL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
TRAINING = {
    "max_tokens": 512,
    "batch_size": 2,
    "first_batch_size": "none",
    "micro_batch_size": "none",
    "sequence_length": 64,
    "validate_every": 2,
    "validation_sequences": 8,
    "score_targets": 128,
    "threads": 1,
    "compile": "false",
}
FINETUNING = {"epochs": 1, "max_length": 16, "max_train_examples": 64, "threads": 1}
BENCHMARK = {
    "mechanisms": ["--attention", "shared", "--sizes", "tiny", "--lengths", "16,32", "--tokens", "64", "--rounds", "1"],
    "inference": ["--sizes", "tiny", "--lengths", "16", "--tokens", "64", "--rounds", "1"],
    "peers": ["--size", "tiny", "--length", "16", "--batch", "2", "--rounds", "1", "--steps", "4", "--peers", "bert"],
}
"""Their last value counts, so these replace what the page gives."""


def smaller(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments by which the documented ones are run."""
    verb, words = arguments[0], [_renamed(word) for word in arguments]
    words = _replaced(words)
    if verb == "bench":
        return [*words, *BENCHMARK[words[1]], "--threads", "1"]
    if verb == "reproduce":
        return [*words, "--dry-run"]
    return [verb, *_settings(words), *words[1:]]  # the page's own settings come later, and count


def _renamed(word: str) -> str:
    for table in (WORDS, NUMBERS):
        for long, short in table.items():
            word = re.sub(rf"(?<!\w){re.escape(long)}(?!\w)", short, word)
    return word


def _replaced(words: list[str]) -> list[str]:
    found, rest = list[str](), iter(words)
    for word in rest:
        option = next((key for key in VALUES if key.split()[0] == word), None)
        if option is None:
            found.append(word)
            continue
        value = next(rest)
        found += VALUES.get(word) or VALUES.get(f"{word} {value}") or [word, value]
    return found


def _settings(words: list[str]) -> list[str]:
    verb, config = words[0], any(word.startswith("CONFIG") or word.endswith(".toml") for word in words[1:2])
    tables: dict[str, dict[str, object]] = {}
    if verb in ("pretrain", "compare", "distill") and not {"--extend"} & set(words):
        tables["training"] = dict(TRAINING)
        if "--tokens" in words or any("training.max_" in word for word in words):
            del tables["training"]["max_tokens"]
        if "--init" not in words and (verb != "distill" or config):
            tables["model"] = dict(MODEL)
    if verb in ("finetune", "robustness"):
        tables["finetuning"] = dict(FINETUNING)
    if verb == "link":
        tables["linking"] = {"epochs": 1, "threads": 1}
    settings = [f"{table}.{key}={value}" for table, values in tables.items() for key, value in values.items()]
    given = {word.partition("=")[0] for word in words}
    return [part for each in settings if each.partition("=")[0] not in given for part in ("--set", each)]

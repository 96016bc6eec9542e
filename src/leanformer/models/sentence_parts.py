"""The parts of a sentence-transformers model beside its transformer, as files: found, checked and copied.

    modules.json                        the parts in their order; the transformer comes first, and its files lie beside
    1_Pooling/config.json, ...          the folder of each other part: its settings, and its weights as safetensors
    sentence_bert_config.json           how texts are read: at most max_seq_length tokens, in lower case if it says so
    config_sentence_transformers.json   prompts by their names, the default prompt, the similarity function

What the parts compute is in `sentence_pooling.py`. Parts are copied whatever they compute; a pickle and code are not.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.records import reading
from leanformer.records.models import SentenceModule, SentencePrompts, SentenceReading, TokenizerLength

MODULES = "modules.json"
READING = "sentence_bert_config.json"
OLD_READING = tuple(
    f"sentence_{family}_config.json"
    for family in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names that the file had in old models of other families than BERT."""
PROMPTS = "config_sentence_transformers.json"
TOKENIZER = "tokenizer_config.json"
FILES = (MODULES, READING, *OLD_READING, PROMPTS, "[0-9]*_*/config.json", "[0-9]*_*/*.safetensors")
"""Patterns of all of these files in a model on the hub."""
WEIGHTED = ("Dense", "LayerNorm", "CNN", "LSTM", "WeightedLayerPooling")
"""Parts that compute nothing without weights."""
PICKLES, NOT_COPIED = (".bin", ".pt", ".pth", ".pkl"), (".py",)
AGAIN = "copy or download it again"
WITHOUT_PARTS = "leave the parts behind by leanformer convert with --encoder-only"
"""A remedy for every command that meets such a model."""


@dataclass(frozen=True)
class SentenceParts:
    """The parts in `folder`; `modules` are the entries of modules.json behind the transformer."""

    folder: Path
    modules: tuple[dict[str, Any], ...]
    text_settings: dict[str, Any]
    """The settings of how texts are read."""
    prompts: dict[str, str]
    default_prompt: str | None

    @property
    def names(self) -> str:
        """The classes of the parts in their order: Pooling, Normalize."""
        return ", ".join(class_name(module) for module in self.modules) or "none"

    @property
    def lower_case(self) -> bool:
        """Whether texts are put into lower case before the tokenizer reads them."""
        return bool(self.text_settings.get("do_lower_case"))

    def max_length(self, longest: int) -> int:
        """The most tokens of a text, of a model that reads `longest`: that of the parts, else of the tokenizer."""
        own = self.text_settings.get("max_seq_length")
        if own is None and (path := self.folder / TOKENIZER).is_file():
            own = reading.read(path, TokenizerLength, AGAIN).get("model_max_length")
        return longest if own is None else int(min(own, longest))

    def settings(self, module: dict[str, Any]) -> Path:
        return self.folder / module["path"] / "config.json"

    def copy(self, target: Path, longest: int) -> None:
        """Write all parts beside the model in `target`, which reads at most `longest` tokens.

        The most tokens of a text are written down even where the source left them to its tokenizer, since the copied
        tokenizer has the model's own length.
        """
        shutil.copyfile(files.within(self.folder, MODULES), target / MODULES)
        if (self.folder / PROMPTS).is_file():
            shutil.copyfile(files.within(self.folder, PROMPTS), target / PROMPTS)
        files.write_json(target / READING, self.text_settings | {"max_seq_length": self.max_length(longest)})
        for module in self.modules:
            place = target / module["path"]
            for name in self._files(module):
                copied = place / name
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files.within(self.folder, module["path"], *name.split("/")), copied)
            if place.is_dir():
                files.write_sums(place)

    def _files(self, module: dict[str, Any]) -> Iterator[str]:
        """The names, within its folder, of the files of a part; ValueError if its weights are missing or a pickle
        alone."""
        place = self.folder / module["path"]
        found = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        whole = any(name.endswith(".safetensors") for name in found)
        if class_name(module) in WEIGHTED and not whole and not any(name.endswith(PICKLES) for name in found):
            raise ValueError(
                f"{place} holds no weights of its {class_name(module)}, or a model on the hub has them as a pickle, "
                "which is never fetched: load the model with sentence-transformers and save_pretrained it"
            )
        for name in found:
            if name.endswith(PICKLES) and not whole:
                raise ValueError(
                    f"{place / name} is a pickle, which may run code when read: if you trust it, load the model with "
                    "sentence-transformers and save_pretrained it, which writes safetensors"
                )
            if name != files.SUMS and not name.endswith((*PICKLES, *NOT_COPIED)):
                yield name


def sentence_parts(folder: Path) -> SentenceParts | None:
    """Returns the parts in the folder of a model, None if there are none.

    ValueError for a part that code of its own computes, and for files that are damaged.
    """
    if not (folder / MODULES).is_file():
        return None
    first, *others = reading.read_list(folder / MODULES, SentenceModule, AGAIN) or [{}]
    if not first or first["path"]:
        where = f" (it lies in {first['path']})" if first else ""
        raise ValueError(
            f"{folder / MODULES} does not begin with the transformer in the same folder{where}: load the model with "
            "sentence-transformers and save_pretrained it"
        )
    for module in (first, *others):
        if not module["type"].startswith("sentence_transformers."):
            raise ValueError(
                f"{folder / MODULES} names {module['type']}, which is not of sentence-transformers and is never run "
                f"here: {WITHOUT_PARTS}"
            )
    for module in others:
        place = files.within(folder, module["path"])
        if (place / files.SUMS).is_file():
            files.check_sums(place, f"restore it; if it was changed on purpose, remove {place / files.SUMS}")
    path = next((folder / name for name in (READING, *OLD_READING) if (folder / name).is_file()), None)
    read = {} if path is None else reading.read(path, SentenceReading, AGAIN)
    spoken: dict[str, Any] = {}
    if (folder / PROMPTS).is_file():
        spoken = reading.read(folder / PROMPTS, SentencePrompts, AGAIN)
    prompts = {name: text for name, text in (spoken.get("prompts") or {}).items() if text is not None}
    default = spoken.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(f"{folder / PROMPTS}: default_prompt_name = {default!r} is none of its prompts: {AGAIN}")
    return SentenceParts(folder, tuple(others), read, prompts, default)


def class_name(module: dict[str, Any]) -> str:
    """sentence_transformers.models.Pooling -> Pooling"""
    return str(module["type"]).rpartition(".")[2]

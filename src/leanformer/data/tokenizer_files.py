"""A tokenizer as files: those given with --tokenizer, and those written into a data directory.

A tokenizer is always saved in the format of transformers, so that AutoTokenizer.from_pretrained(DATA) loads it. Beside
a model its files also describe that model's inputs (`match_model`).

A special token in a text, such as "[SEP]", is treated as text, as in `encoding.py`: `load` and `wrap` return tokenizers
with split_special_tokens = True. A tokenizer's own code is never run.
"""

import copy
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from leanformer.data.vocabulary import Vocabulary
from leanformer.errors import reason
from leanformer.records import reading
from leanformer.records.models import Labels

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TOKEN_TYPES = "token_type_ids"
SENTENCES = "sentence_bert_config.json"
"""Beside a model with the parts of sentence-transformers: how it reads texts."""
MAX_LENGTH = 512
"""The length to which a tokenizer trained here truncates, BERT's; a run sets its model's length."""
OWN_CODE = "{}: this tokenizer brings code of its own (auto_map), which is never run here; give its " + FILE
GAPS = 4096
"""The number of ids without a token that is allowed beyond the number of tokens; a model has a row for every id."""
NAMES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""The usual names of the special tokens, for a tokenizer.json without config, which does not give their roles."""


def wrap(tokenizer: Tokenizer) -> Any:
    """Returns the transformers tokenizer around one of the tokenizers library."""
    from transformers import PreTrainedTokenizerFast

    found = {
        role: next((n for n in names if tokenizer.token_to_id(n) is not None), None) for role, names in NAMES.items()
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", TOKEN_TYPES, "attention_mask"],
        split_special_tokens=True,
        **{role: name for role, name in found.items() if name},
    )


def load(path: str | Path) -> Any:
    """Load a tokenizer.json, a directory with one (a model, a data directory or another), or hf:NAME."""
    source, place = str(path), Path(path)
    if not source.startswith("hf:") and not place.exists():
        raise FileNotFoundError(f"{place}: no such tokenizer; give a {FILE}, a directory that holds one, or hf:NAME")
    if (place / "config.json").is_file():  # AutoTokenizer uses it
        reading.read(place / "config.json", Labels, "copy or download it again")
    try:
        if source.startswith("hf:") or (place / CONFIG).is_file():
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(
                source.removeprefix("hf:"), trust_remote_code=False, split_special_tokens=True
            )
        else:
            tokenizer = wrap(Tokenizer.from_file(str(place / FILE if place.is_dir() else place)))
    except Exception as error:  # the tokenizers library raises bare Exceptions
        if "trust_remote_code" in str(error):
            raise ValueError(OWN_CODE.format(path)) from None
        raise ValueError(f"{path}: cannot be read as a tokenizer ({reason(error)}); give an intact {FILE}") from error
    if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        raise ValueError(f"{path}: not a tokenizer of the tokenizers library; convert it to a {FILE}")
    try:
        tokenizer.backend_tokenizer.encode("a \u2603", add_special_tokens=False)  # a word, and an unknown one
    except Exception as error:  # a plain Exception, for example of a vocabulary without the unknown token
        raise ValueError(f"{path}: this tokenizer reads no text ({error}); give an intact {FILE}") from None
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest > 0:
        raise ValueError(f"{path}: model_max_length = {longest!r} is no number of tokens: mend tokenizer_config.json")
    names = tokenizer.model_input_names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: model_input_names = {names!r} is no list of names: mend tokenizer_config.json")
    ids = tokenizer.get_vocab().values()
    if max(ids, default=0) > 2 * len(ids) + GAPS:
        raise ValueError(f"{path}: its ids reach {max(ids):,} with {len(ids):,} tokens: number them without such gaps")
    missing = [role for role in NAMES if role != "unk_token" and getattr(tokenizer, role) is None]
    if missing:
        raise ValueError(f"{path}: this tokenizer has no {', '.join(missing)}, which masked-language modelling needs")
    return tokenizer


def vocabulary(tokenizer: Any) -> Vocabulary:
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    roles = {role.replace("token", "id"): getattr(tokenizer, f"{role}_id") for role in NAMES}
    special = {id for id, token in added.items() if token.special} | {id for id in roles.values() if id is not None}
    return Vocabulary(
        size=max(tokenizer.get_vocab().values()) + 1,
        special_ids=tuple(sorted(special)),
        **roles,
    )


def save(tokenizer: Any, directory: Path) -> None:
    """Save the tokenizer into a data directory or, followed by `match_model`, beside a model."""
    try:
        tokenizer.save_pretrained(directory)
    except Exception as error:  # the tokenizers library reports a full disk so
        raise OSError(f"{directory}: the tokenizer cannot be written ({error})") from error
    if not (directory / FILE).is_file():
        raise ValueError(f"{tokenizer.name_or_path}: this tokenizer cannot be saved as {FILE}; give one that can")
    _write_config(directory, _config(directory) | {"split_special_tokens": False})


def keep_pipeline(tokenizer: Any, directory: Path) -> None:
    """Make AutoTokenizer load the saved tokenizer.json as it is: a class such as BertTokenizer builds its normalizer
    from its own settings, and forgets one that was put before it."""
    names = {"model_input_names": list(tokenizer.model_input_names)}
    _write_config(directory, _config(directory) | {"tokenizer_class": "PreTrainedTokenizerFast"} | names)


def match_model(folder: Path) -> None:
    """Make the tokenizer in a model's folder agree with the config.json there, since both are loaded together.

    model_max_length        the most tokens that the model, or its parts of sentence-transformers, read: texts are
                            truncated to them
    model_input_names       without token_type_ids for a model of one type, which has no embedding of a second
    split_special_tokens    true unless the model fills masks, since a text must then be able to contain "[MASK]", or
                            has the parts of sentence-transformers, whose prompts may hold special tokens
    """
    if not (folder / CONFIG).is_file():  # else the config would remove its roles
        return
    model, settings = json.loads((folder / "config.json").read_text(encoding="utf-8")), _config(folder)
    fills = any(name.endswith("ForMaskedLM") for name in model.get("architectures") or ())
    parts, longest = folder / SENTENCES, model["max_position_embeddings"]
    if parts.is_file():
        longest = min(longest, json.loads(parts.read_text(encoding="utf-8")).get("max_seq_length") or longest)
    settings |= {"model_max_length": longest, "split_special_tokens": not fills and not parts.is_file()}
    names = settings.get("model_input_names", ["input_ids", TOKEN_TYPES, "attention_mask"])
    if model.get("type_vocab_size", 1) < 2:
        settings["model_input_names"] = [name for name in names if name != TOKEN_TYPES]
    _write_config(folder, settings)


def filling(tokenizer: Any) -> Any:
    """Returns a copy that reads its mask token in a text as a mask, and the other special tokens as text."""
    copied = copy.deepcopy(tokenizer)
    pipeline = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in pipeline["added_tokens"]:
        token["special"] &= token["content"] != tokenizer.mask_token
    copied._tokenizer = Tokenizer.from_str(json.dumps(pipeline))
    return copied


def _config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write_config(directory: Path, settings: dict[str, Any]) -> None:
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (directory / CONFIG).write_text(text, encoding="utf-8")

"""A tokenizer as files: the ones given with --tokenizer, and those written into a data directory.

Whatever it was, it is saved as transformers saves it, so that AutoTokenizer.from_pretrained(DATA) gives it back.
"""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from leanformer.data.vocabulary import Vocabulary
from leanformer.records import reading
from leanformer.records.models import Config

FILE = "tokenizer.json"
MAX_LENGTH = 512
"""What a tokenizer trained here truncates to when asked to: BERT's length. A run sets its own model's."""
GAPS = 4096
"""Ids that may belong to no token, beside as many as there are tokens: a model has a row for every id."""
NAMES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""The usual names of the special tokens, for a bare tokenizer.json, which does not say which is which."""


def wrap(tokenizer: Tokenizer) -> Any:
    """The transformers tokenizer around one of the tokenizers library."""
    from transformers import PreTrainedTokenizerFast

    found = {
        role: next((n for n in names if tokenizer.token_to_id(n) is not None), None) for role, names in NAMES.items()
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{role: name for role, name in found.items() if name},
    )


def load(path: str | Path) -> Any:
    """A tokenizer.json, or a directory with one (of save_pretrained, a model's or a data directory), or hf:NAME."""
    source, place = str(path), Path(path)
    if not source.startswith("hf:") and not place.exists():
        raise FileNotFoundError(f"{place}: no such tokenizer; give a {FILE}, a directory that holds one, or hf:NAME")
    if (place / "config.json").is_file():  # AutoTokenizer reads it, and builds what it says
        reading.read(place / "config.json", Config, "copy or download it again")
    try:
        if source.startswith("hf:") or (place / "tokenizer_config.json").is_file():
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(source.removeprefix("hf:"))
        else:
            tokenizer = wrap(Tokenizer.from_file(str(place / FILE if place.is_dir() else place)))
    except Exception as error:  # the tokenizers library raises bare Exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as a tokenizer ({reason}); give an intact {FILE}") from error
    if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        raise ValueError(f"{path}: not a tokenizer of the tokenizers library; convert it to a {FILE}")
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest > 0:
        raise ValueError(f"{path}: model_max_length = {longest!r} is no number of tokens: mend tokenizer_config.json")
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
    try:
        tokenizer.save_pretrained(directory)
    except Exception as error:  # the tokenizers library reports a full disk so
        raise OSError(f"{directory}: the tokenizer cannot be written ({error})") from error
    if not (directory / FILE).is_file():
        raise ValueError(f"{tokenizer.name_or_path}: this tokenizer cannot be saved as {FILE}; give one that can")

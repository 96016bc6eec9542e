"""The tokenizer beside a checkpoint: whether its files agree with the model, how they are read, and a copy of them.

A copy always has a tokenizer.json, which is written if the checkpoint has a vocabulary alone. Whether BERT's tokenizer
lower-cases texts is then read off the files: transformers lower-cases where no setting says otherwise, and a vocabulary
with capital letters would be lost.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from leanformer.data import tokenizer_files
from leanformer.data.readers import documents
from leanformer.data.unknown import WARNED, unknown_share
from leanformer.files import within
from leanformer.models.saved import quiet

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
"""One of these has the words."""
SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model")
"""Vocabularies that need another library, and are not copied."""
CAPITALS = 0.01
"""The share of words with capital letters in a vocabulary from which on it is a cased one."""
SAMPLE = 1000
"""Documents on which unknown tokens are counted."""
SAVE_AGAIN = "load the tokenizer with the transformers it was made with and save_pretrained it, as tokenizer.json"


def check_tokenizer(directory: Path, vocab_size: int, tokenizer_class: str) -> None:
    """ValueError unless the tokenizer's files, if there are any, can be read without others, number tokens as they say,
    and give none a number that no row of the embeddings belongs to."""
    modern, words, numbers = (directory / name for name in VOCABULARIES)
    present = [name for name in (*TOKENIZER, *SENTENCEPIECE) if (directory / name).exists()]
    if not present:
        return
    if modern.exists():
        try:
            size = max(Tokenizer.from_file(str(modern)).get_vocab().values(), default=-1) + 1
        except Exception as error:  # the tokenizers library raises bare Exceptions
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"{modern} is damaged ({reason}): copy or download it again") from None
        found = modern
    elif words.exists():
        size, found = len(words.read_text(encoding="utf-8").rstrip("\n").split("\n")), words
    elif numbers.exists():
        size, found = max(_json(numbers).values(), default=-1) + 1, numbers
    else:
        raise ValueError(
            f"{directory / present[-1]} is of a tokenizer without {', '.join(VOCABULARIES)}, none of which lies there: "
            f"{SAVE_AGAIN}, or take its files away to convert the weights alone"
        )
    _require_rows(found, size, vocab_size)
    vocabulary = _vocabulary(directory, tokenizer_class)
    read = max(vocabulary.values(), default=-1) + 1
    if read < size:
        raise ValueError(f"{found} numbers {size:,} tokens, of which {read:,} are read: {SAVE_AGAIN}")
    _require_added_tokens(directory, vocabulary, vocab_size)
    _require_rows(directory, read, vocab_size)


def _vocabulary(directory: Path, tokenizer_class: str) -> dict[str, int]:
    """As the copy of the tokenizer will be read."""
    with _copied(directory, tokenizer_class) as folder:
        assert folder is not None
        return dict(_read(folder, directory).get_vocab())


def _read(folder: Path, source: Path) -> Any:
    """Returns the tokenizer in `folder`, a copy of that in `source`."""
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # each kind of tokenizer has its own
        if "trust_remote_code" in str(error):
            raise ValueError(tokenizer_files.OWN_CODE.format(source)) from None
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{source}: its tokenizer cannot be read ({reason}): {SAVE_AGAIN}") from None


def _require_added_tokens(directory: Path, vocabulary: Mapping[str, int], vocab_size: int) -> None:
    """ValueError unless those that the files list have the numbers that are written there."""
    added, settings = directory / "added_tokens.json", directory / "tokenizer_config.json"
    promised = [(added, token, number) for token, number in (_json(added) if added.exists() else {}).items()]
    rows = _json(settings).get("added_tokens_decoder") or {} if settings.exists() else {}
    promised += [(settings, row["content"], int(number)) for number, row in rows.items()]
    for file, token, number in promised:
        _require_rows(file, number + 1, vocab_size)
        if vocabulary.get(token) != number:
            raise ValueError(
                f"{file} gives {token!r} the number {number}, but the tokenizer reads it as {vocabulary.get(token)}: "
                f"{SAVE_AGAIN}"
            )


def _require_rows(found: Path, size: int, vocab_size: int) -> None:
    if size > vocab_size:
        raise ValueError(
            f"{found} numbers {size:,} tokens, but the model embeds {vocab_size:,}: "
            "copy the tokenizer that the model was trained with"
        )


def read_tokenizer(directory: Path, tokenizer_class: str, text: str | Path) -> Any:
    """Returns the tokenizer to read `text` with; ValueError if there is none."""
    with _copied(directory, tokenizer_class) as folder:
        if folder is None:
            raise ValueError(f"{directory} holds no tokenizer to read {text} with: copy the model's own there")
        return tokenizer_files.load(folder)


@contextmanager
def _copied(directory: Path, tokenizer_class: str) -> Iterator[Path | None]:
    with tempfile.TemporaryDirectory() as folder, quiet():
        yield Path(folder) if copy_tokenizer(directory, Path(folder), tokenizer_class) else None


def copy_tokenizer(source: Path, target: Path, tokenizer_class: str) -> bool:
    """Whether there is one. Old checkpoints leave its class to the model's type, which converting changes, and its
    tokenizer.json to be made of its vocabulary."""
    copied = [shutil.copy(within(source, name), target) for name in TOKENIZER if (source / name).exists()]
    if not copied:
        return False
    path = target / "tokenizer_config.json"
    given = _json(path) if path.exists() else {}
    settings = {"tokenizer_class": tokenizer_class} | _casing(source) | given
    if settings != given:
        path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    if not (target / tokenizer_files.FILE).exists():
        _read(target, source).save_pretrained(target)
    return True


def _casing(directory: Path) -> dict[str, bool]:
    """Whether texts are lower-cased, as tokenizer.json or else the words of vocab.txt say; empty if neither does."""
    modern, words, _ = (directory / name for name in VOCABULARIES)
    if modern.exists():
        normalizer = _json(modern).get("normalizer") or {}
        return {"do_lower_case": normalizer["lowercase"]} if normalizer.get("type") == "BertNormalizer" else {}
    return {"do_lower_case": not has_capitals(words)} if words.exists() else {}


def has_capitals(words: Path) -> bool:
    """Whether a vocab.txt is cased. A special token, such as [CLS], is no word."""
    ordinary = [word for word in words.read_text(encoding="utf-8").split("\n") if word and word[0] not in "[<"]
    capitals = sum(word != word.lower() for word in ordinary)
    return capitals > CAPITALS * len(ordinary)


def tokenizer_notes(directory: Path, tokenizer_class: str, text: str | Path | None) -> list[str]:
    """What the user should know about how texts will be read: a casing that was guessed, and of a sample of `text` the
    share of unknown tokens, if it is more than 1 %. `prepare` has counted those of a directory of data."""
    notes = []
    modern, words, _ = (directory / name for name in VOCABULARIES)
    path = directory / "tokenizer_config.json"
    unsaid = not modern.exists() and "do_lower_case" not in (_json(path) if path.exists() else {})
    if unsaid and words.exists() and has_capitals(words):
        notes.append(
            f"texts keep their capital letters, because the vocabulary in {words} has them; to lower-case texts, write "
            f'{{"do_lower_case": true}} into {path} and convert again'
        )
    if text is None or Path(text).is_dir():
        return notes
    share = unknown_share(read_tokenizer(directory, tokenizer_class, text), islice(documents(text), SAMPLE))
    if share > WARNED:
        notes.append(
            f"the tokenizer does not know {share:.1%} of the tokens of {text} ([UNK]): give a text in the language, "
            "the case and the script of its vocabulary"
        )
    return notes


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give the directory of a saved model")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object: copy or download it again")
    return found

"""data.json of a data directory."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from leanformer.files import is_plain
from leanformer.records.reading import Count, Record


def _plain(name: str) -> str:
    """A file's name, and nothing that leads elsewhere: neither a folder nor a hidden file."""
    if not is_plain(name):
        raise ValueError("a plain file name is expected, without folders")
    return name


FileName = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[int, Field(ge=0, lt=2**32)]


class Blocks(Record):
    """sha256 of every piece of `bytes` bytes, the last one shorter."""

    bytes: Annotated[int, Field(gt=0, lt=2**40)]
    sha256: list[Sha256]


class File(Record):
    bytes: Count
    sha256: Sha256
    blocks: Blocks | None = None


class Vocabulary(Record):
    size: Annotated[int, Field(gt=0, le=2**32)]
    special_ids: list[Id]
    pad_id: Id
    cls_id: Id
    sep_id: Id
    mask_id: Id
    unk_id: Id | None


class Data(Record):
    schema_: Literal[1] = Field(alias="schema")
    kind: Literal["text", "pairs"] = "text"
    hash: Sha256
    tokenizer_hash: Sha256
    dtype: Literal["uint16", "uint32"]
    vocabulary: Vocabulary
    splits: dict[str, Any] = {}
    files: dict[FileName, File]


class Pairs(Data):
    task: str
    task_kind: str


class Texts(Record):
    """A line of SPLIT.jsonl: a pair as it was read."""

    source: str
    references: list[str]

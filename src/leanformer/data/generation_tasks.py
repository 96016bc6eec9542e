"""The table of generation tasks, in which a text is the answer to a text.

    translation     a sentence -> the same in another language          BLEU, chrF
    summarization   a dialogue -> its summary in a sentence or two       ROUGE-L, ROUGE-1, ROUGE-2
    dialogue        persona and the last turns -> the next turn          ROUGE-L, BLEU

Another task is added as one more entry, here or in a plug-in file:

    register_generation_task(GenerationTask("titles", "summarization", read=columns("body", "title")))

Its data are then read from DIR/titles/train.jsonl, DIR/titles/validation.jsonl and so on (see `pair_texts.py`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

from leanformer.install import how_to_install
from leanformer.spelling import suggest

KINDS: dict[str, tuple[str, ...]] = {
    "translation": ("bleu", "chrf"),
    "summarization": ("rougeL", "rouge1", "rouge2"),
    "dialogue": ("rougeL", "bleu"),
}
"""The metrics of each kind; the first one is the score."""

PACKAGES = {"bleu": "sacrebleu", "chrf": "sacrebleu"} | dict.fromkeys(("rouge1", "rouge2", "rougeL"), "rouge_score")
"""The package that computes each metric."""

TURNS = 4
"""The most turns of a conversation in the input of a dialogue model."""


def require_packages(kind: str) -> None:
    """Raises ValueError unless the packages that score this kind of task are installed."""
    for package in {PACKAGES[metric]: None for metric in KINDS[kind]}:
        if find_spec(package) is None:
            raise ValueError(f"{package.replace('_', '-')} is not installed: {how_to_install('generation')}")


class Example(NamedTuple):
    """A source text with people's answers. When splits are made, examples of one `group` (the turns of a dialogue,
    equal texts) stay together."""

    source: str
    references: tuple[str, ...]
    group: str


Reader = Callable[[Iterable[dict[str, Any]]], Iterator[Example]]


@dataclass(frozen=True)
class GenerationTask:
    """A task; `read` returns the examples of a split's rows, and raises KeyError if a row lacks a column.

    If `train` is None, the task is published without its training split, so `validation` and `tests` are joined and
    split again. `note` is printed whenever the data are prepared.
    """

    name: str
    kind: str
    read: Reader
    train: str | None = "train"
    validation: str = "validation"
    tests: tuple[str, ...] = ()
    folder: str = ""
    """The name of the data's folder in DIR, `name` by default."""
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: unknown kind {self.kind!r}: {suggest(self.kind, KINDS)}")

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the published splits."""
        return tuple(filter(None, (self.train, self.validation, *self.tests)))


_TASKS: dict[str, GenerationTask] = {}


def register_generation_task(task: GenerationTask) -> GenerationTask:
    """Register `task` by its name; raises `ValueError` if another task has that name."""
    if _TASKS.setdefault(task.name, task) is not task:
        raise ValueError(f"generation task {task.name!r} is registered already: rename one")
    return task


def generation_task(name: str) -> GenerationTask:
    """Returns the task `name`; raises `ValueError` with the nearest known name if there is none."""
    if name not in _TASKS:
        known = suggest(name, _TASKS)
        raise ValueError(
            f"unknown generation task {name!r}: {known}; another one is made known by register_generation_task"
        )
    return _TASKS[name]


def names() -> list[str]:
    return list(_TASKS)


def columns(source: str, target: str) -> Reader:
    """Returns a reader of one pair per row."""

    def read(rows: Iterable[dict[str, Any]]) -> Iterator[Example]:
        for row in rows:
            yield Example(row[source], (row[target],), row[source])

    return read


def translations(rows: Iterable[dict[str, Any]], source: str, target: str) -> Iterator[Example]:
    """Yields the examples of rows {"translation": {"en": ..., "de": ...}}, as on the Hugging Face hub."""
    yield from columns(source, target)(row["translation"] for row in rows)


def summaries(rows: Iterable[dict[str, Any]]) -> Iterator[Example]:
    """Yields the examples of rows {"id", "dialogue", "summary"}; rows with the same dialogue are its references."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["dialogue"], []).append(row["summary"])
    for dialogue, references in found.items():
        yield Example(dialogue, tuple(references), dialogue)


def next_turns(rows: Iterable[dict[str, Any]]) -> Iterator[Example]:
    """Yields an example per turn but the first, from the speaker's persona and the `TURNS` turns before it.

    Rows {"user 1 personas", "user 2 personas", "Best Generated Conversation"}; turns are lines "User 1: ...".
    """
    for row in rows:
        conversation = row["Best Generated Conversation"]
        personas = {f"User {i}": " ".join(row[f"user {i} personas"].split()) for i in (1, 2)}
        turns = [line.strip() for line in conversation.splitlines() if line.strip()]
        for place, turn in enumerate(turns[1:], start=1):
            speaker, colon, said = turn.partition(":")
            if colon and speaker in personas and said.strip():
                shown = [f"{speaker}: {personas[speaker]}", *turns[max(0, place - TURNS) : place]]
                yield Example("\n".join(shown), (said.strip(),), conversation)


for _entry in (
    GenerationTask(
        "multi30k_ende",
        "translation",
        partial(translations, source="en", target="de"),
        tests=("test_2016", "test_2017", "test_2017_mscoco", "test_2018"),
        folder="translation/multi30k_ende",
    ),
    GenerationTask(
        "wmt14_ende",
        "translation",
        partial(translations, source="en", target="de"),
        tests=("test",),
        folder="translation/wmt14_ende",
    ),
    GenerationTask(
        "wmt_ende_10k",
        "translation",
        partial(translations, source="en", target="de"),
        folder="translation/wmt_ende_10k",
        note="10,000 pairs of WMT and 50 to validate on: a smoke test, no score to compare",
    ),
    GenerationTask(
        "dialogsum", "summarization", summaries, train=None, tests=("test",), folder="summarization/dialogsum"
    ),
    GenerationTask(
        "cnn_dailymail",
        "summarization",
        columns("article", "highlights"),
        tests=("test",),
        folder="summarization/cnn_dailymail",
    ),
    GenerationTask(
        "persona_chat", "dialogue", next_turns, train=None, tests=("test",), folder="dialogue/persona_chat_syn"
    ),
):
    register_generation_task(_entry)

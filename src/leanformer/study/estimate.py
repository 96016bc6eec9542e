"""What a study will take, reported before it starts: its parts that no timed step (`training/budget/pace.py`) shows.

Scoring costs a third of training on as many tokens: it has no backward pass, which is twice the forward one.
"""

import math
from dataclasses import dataclass

from leanformer.data.examples import load
from leanformer.data.tasks import Task
from leanformer.settings import FinetuningSettings
from leanformer.study.forking import can_fork
from leanformer.training.machine.timing import duration

FRESH_SECONDS, FORK_SECONDS = 8.0, 3.0
"""Starting a command and writing its results: in a process that imports torch and transformers, and in a fork."""
TOKENS_PER_WORD = 1.6
"""Word pieces in running English, special tokens included: only the estimate of fine-tuning rests on it."""


@dataclass(frozen=True)
class Estimate:
    """Wall-clock seconds and bytes on disk of what is still to do."""

    seconds: float
    bytes: int
    runs: int

    def sentence(self) -> str:
        return f"{self.runs} runs to go: about {duration(self.seconds)} and {_size(self.bytes)} of disk"


@dataclass(frozen=True)
class Reading:
    """What a fine-tuning on a task reads, in tokens: one epoch, and all that is scored; and its training examples."""

    epoch: float
    scored: float
    examples: int

    def training(self, epochs: float) -> float:
        """Tokens of training that cost as much as so many epochs and one scoring."""
        return epochs * self.epoch + self.scored / 3


def process_seconds() -> float:
    """Returns the seconds of a command besides its training, as `study/local.py` starts it here."""
    return FORK_SECONDS if can_fork() else FRESH_SECONDS


def reading(task: Task, task_data: str, settings: FinetuningSettings) -> Reading:
    longest = math.inf if task.kind == "span" else settings.max_length  # windows read all of a context

    def tokens(texts: list[tuple[str, ...]]) -> float:
        return sum(min(longest, TOKENS_PER_WORD * sum(len(text.split()) for text in row)) for row in texts)

    train, validation = load(task, task_data)
    train = train.subset(settings.max_train_examples)
    scored = sum(tokens(part.subset(settings.max_eval_examples).texts) for part in validation.values())
    return Reading(tokens(train.texts), scored, len(train.labels))


def _size(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"

"""The encoding of the examples of each kind of task."""

from collections.abc import Callable
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation.inputs import choices, encoding, several, tokens, windows
from leanformer.evaluation.inputs.encoding import Encoded

ENCODERS: dict[str, Callable[[PreTrainedTokenizerBase, Examples, int], Encoded]] = {
    "classification": encoding.encode,
    "regression": encoding.encode,
    "multi_label": several.encode,
    "multiple_choice": choices.encode,
}
"""Kind of task -> (tokenizer, examples, longest row) -> rows, where the kind says everything."""


def encode(task: Task, tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> Encoded:
    """Returns the examples of a task as rows of at most `max_length` tokens."""
    if task.kind == "token_classification":
        return tokens.encode(tokenizer, examples, max_length, task.labels)
    if task.kind == "span":
        return replace(windows.encode(tokenizer, examples, max_length), unanswerable=task.unanswerable)
    return ENCODERS[task.kind](tokenizer, examples, max_length)

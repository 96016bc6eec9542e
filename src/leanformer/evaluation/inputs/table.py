"""How the examples of each kind of task become what a model reads."""

from collections.abc import Callable

from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs import choices, encoding, windows
from leanformer.evaluation.inputs.encoding import Encoded

ENCODERS: dict[str, Callable[[PreTrainedTokenizerBase, Examples, int], Encoded]] = {
    "classification": encoding.encode,
    "regression": encoding.encode,
    "multiple_choice": choices.encode,
    "span": windows.encode,
}
"""Kind of task -> (tokenizer, examples, longest row) -> rows."""

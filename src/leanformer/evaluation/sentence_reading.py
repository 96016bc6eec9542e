"""How a sentence-transformers model reads a text: prompt + text, in lower case if its parts say so, cut to a length.

Special tokens in a text or a prompt are read as such. Whatever computes or exports vectors of texts uses these
functions, so that all read a text alike.
"""

from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from leanformer.models.sentence_parts import SentenceParts


def follow_parts(parts: SentenceParts, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer read texts as the parts say: with special tokens, and in lower case if asked for."""
    tokenizer.split_special_tokens = False
    if parts.lower_case:
        backend = tokenizer.backend_tokenizer
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def default_prompt(parts: SentenceParts | None) -> str:
    """Returns the text that stands before every text unless another prompt is named."""
    return "" if parts is None or parts.default_prompt is None else parts.prompts[parts.default_prompt]


def prompt_length(tokenizer: PreTrainedTokenizerBase, prompt: str, length: int) -> int:
    """Returns the number of tokens of a prompt, [CLS] among them and a final [SEP] not; 0 for none.

    Raises ValueError for a prompt that leaves no room for a text in `length` tokens.
    """
    if not prompt:
        return 0
    ids = tokenizer(prompt, truncation=True, max_length=length)["input_ids"]
    found = len(ids) - (ids[-1] in tokenizer.all_special_ids)
    if found >= length - 1:
        raise ValueError(f"the prompt {prompt!r} leaves no room in {length} tokens: raise the length, or name another")
    return found

"""Words in windows: every word once, at its first token, and the loss of a float64 formula."""

import numpy as np
import pytest
import torch

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.tokens import IGNORED, encode

TAGS = ("O", "B-A", "I-A")


def examples(*rows):
    """Each row is a list of (word, tag); the tokenizer of the tests splits a-b into three tokens."""
    labels = np.empty(len(rows), dtype=object)
    texts = []
    for i, row in enumerate(rows):
        text = " ".join(word for word, _ in row)
        begins = np.cumsum([0, *(len(word) + 1 for word, _ in row)]).tolist()
        words = [(begin, begin + len(word)) for begin, (word, _) in zip(begins, row, strict=False)]
        labels[i] = {"words": words, "tags": [tag for _, tag in row]}
        texts.append((text,))
    return Examples(texts, labels)


@pytest.fixture
def tokenizer(tokenizer_of):
    return tokenizer_of(" ".join([*(f"w{i}" for i in range(50)), "a", "b", "-"]))


def test_the_label_is_at_the_first_token(tokenizer):
    encoded = encode(tokenizer, examples([("w1", "O"), ("a-b", "B-A"), ("w2", "I-A")]), 19, TAGS)
    batch = encoded.batch(np.array([0]))
    assert batch["input_ids"].shape == (1, 7)  # [CLS] w1 a - b w2 [SEP]
    assert batch["labels"].tolist() == [[IGNORED, 0, 1, IGNORED, IGNORED, 2, IGNORED]]
    assert encoded.place == [[(0, 1), (0, 2), (0, 5)]]


def test_long_texts_are_read_in_windows_and_no_word_is_lost(tokenizer):
    rows = [[(f"w{i}", TAGS[i % 3]) for i in range(count)] for count in (3, 47, 11)]
    encoded = encode(tokenizer, examples(*rows), 11, TAGS)  # 9 words per window, which overlap by 3
    assert encoded.truncated == 0
    assert encoded.lengths.max() == 11
    seen = np.zeros(50, dtype=int)
    batch = encoded.batch(np.arange(len(encoded.lengths)))
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        for word, label in zip((ids - 5).tolist(), labels.tolist(), strict=True):
            if label != IGNORED:
                assert label == word % 3
                seen[word] += 1
    assert seen.tolist() == [sum(i < count for count in (3, 47, 11)) for i in range(50)]
    assert len(encoded.targets) == 3 + 47 + 11
    # a word of two windows is read where it is farther from an end: w6, w7, w8 are at 7, 8, 9 and at 1, 2, 3
    windows = [window for window, _ in encoded.place[1]]
    assert [windows[i] - windows[0] for i in (6, 7, 8)] == [0, 0, 1]


def test_predictions_are_read_in_the_same_places(tokenizer):
    rows = [[(f"w{i}", TAGS[i % 3]) for i in range(count)] for count in (3, 31)]
    encoded = encode(tokenizer, examples(*rows), 11, TAGS)
    logits = []
    for row in range(len(encoded.lengths)):
        batch = encoded.batch(np.array([row]))
        one_hot = torch.nn.functional.one_hot(batch["labels"][0].clamp(min=0), 3) * 5.0
        logits.append(one_hot.float().numpy())
    read = encoded.read(logits)
    assert [list(tags) for tags in read.predictions] == [[tag for _, tag in row] for row in rows]
    np.testing.assert_allclose(read.scores[0], np.exp(5) / (np.exp(5) + 2))


def test_a_word_without_a_token_is_outside(tokenizer):
    part = Examples([("w1 w2",)], np.array([{"words": [(0, 2), (2, 3), (3, 5)], "tags": ["B-A", "B-A", "O"]}]))
    encoded = encode(tokenizer, part, 11, TAGS)
    assert encoded.place == [[(0, 1), None, (0, 2)]]
    logits = np.zeros((4, 3), dtype=np.float32)
    logits[:, 1] = 1
    assert encoded.read([logits]).predictions[0] == ("B-A", "O", "B-A")
    empty = np.empty(1, dtype=object)
    empty[0] = {"words": [], "tags": []}
    assert encode(tokenizer, Examples([("",)], empty), 11, TAGS).read([logits]).predictions.tolist() == [()]


def test_loss(tokenizer):
    """Rows add up to the sum over words, divided by the mean number of words per row; weights are of tags."""
    rows = [[(f"w{i}", TAGS[i % 3]) for i in range(count)] for count in (2, 5)]
    encoded = encode(tokenizer, examples(*rows), 11, TAGS)
    batch = encoded.batch(np.arange(2))
    logits = torch.randn(2, 7, 3, generator=torch.manual_seed(1))
    weights = torch.tensor([0.5, 2.0, 3.0])
    logp = logits.double().log_softmax(-1)
    for given in (None, weights):
        expected = torch.zeros(2, dtype=torch.float64)
        for i, row in enumerate(rows):
            for t in range(len(row)):
                expected[i] -= logp[i, t + 1, t % 3] * (1 if given is None else given[t % 3].double())
        found = encoded.losses(logits, batch["labels"], given)
        torch.testing.assert_close(found.double(), expected / 3.5, rtol=1e-6, atol=1e-6)

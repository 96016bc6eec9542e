"""Several labels: the loss of a float64 formula, the best constant, and the threshold."""

import numpy as np
import pytest
import torch

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.several import encode

LABELS = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1]])


@pytest.fixture
def encoded(tokenizer_of):
    return encode(tokenizer_of("w0 w1"), Examples([("w0 w1",)] * 5, LABELS), 7)


def test_loss_and_weights(encoded):
    batch = encoded.batch(np.arange(5))
    z = torch.randn(5, 3, generator=torch.manual_seed(1), dtype=torch.float64)
    weights = torch.tensor([[0.5, 2.0], [1.0, 3.0], [0.25, 1.5]])
    p, y = z.sigmoid(), torch.from_numpy(LABELS)
    losses = -torch.where(y > 0, p.log(), (1 - p).log())
    torch.testing.assert_close(
        encoded.losses(z.float(), batch["labels"]).double(), losses.mean(1), rtol=1e-5, atol=1e-6
    )
    weighed = losses * torch.where(y > 0, weights[:, 1], weights[:, 0])
    found = encoded.losses(z.float(), batch["labels"], weights)
    torch.testing.assert_close(found.double(), weighed.mean(1), rtol=1e-5, atol=1e-6)


def test_no_constant_has_a_smaller_loss(encoded):
    shares = LABELS.mean(0)
    logits = torch.from_numpy(np.log(shares / (1 - shares))).expand(5, 3)
    best = float(encoded.losses(logits, torch.from_numpy(LABELS)).mean())
    assert encoded.constant_loss() == pytest.approx(best)
    balanced = torch.tensor([[5 / 4, 5 / 6], [5 / 8, 5 / 2], [5 / 2, 5 / 8]])
    assert encoded.constant_loss(balanced) == pytest.approx(np.log(2), rel=1e-6)


def test_reading(encoded):
    read = encoded.read([np.array([0.1, -0.1, 3.0], dtype=np.float32)] * 5)
    assert read.predictions.tolist() == [[1, 0, 1]] * 5

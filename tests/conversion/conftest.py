"""The tiny model of tests/models, with heads that look somewhere: attention far from uniform, so that outputs depend on
every map.
"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.models.conftest import batch, posed, quiet_and_repeatable, scattered, tiny, tokenizer

__all__ = ["batch", "posed", "quiet_and_repeatable", "scattered", "sharp", "tiny", "tokenizer"]


@pytest.fixture
def sharp(scattered) -> Callable[[nn.Module], nn.Module]:
    def sharpen(model: nn.Module) -> nn.Module:
        scattered(model)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.weight.add_(1.0)
        return model

    return sharpen

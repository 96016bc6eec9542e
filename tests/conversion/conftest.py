"""Models whose heads look somewhere: attention far from uniform, so that outputs depend on every map."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.models import conftest as of_models

aligned, batch, posed, scattered = of_models.aligned, of_models.batch, of_models.posed, of_models.scattered
quiet_and_repeatable, tiny, tokenizer = of_models.quiet_and_repeatable, of_models.tiny, of_models.tokenizer


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

"""Documents packed into one sequence and kept apart: each is what it would be alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerConfig, LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.documents import within_documents

SIZES = {
    "vocab_size": 23,
    "hidden_size": 14,
    "num_hidden_layers": 2,
    "num_attention_heads": 7,
    "intermediate_size": 29,
    "max_position_embeddings": 13,
    "initializer_range": 0.5,
}


def test_masks_and_positions() -> None:
    found = within_documents(torch.tensor([[3, 3, 4, 5, 5], [7, 7, 7, 7, 7]]))
    assert found["position_ids"].tolist() == [[0, 1, 0, 0, 1], [0, 1, 2, 3, 4]]
    blocks = torch.block_diag(torch.ones(2, 2), torch.ones(1, 1), torch.ones(2, 2)).bool()
    assert_close(found["attention_mask"], torch.stack((blocks, torch.ones(5, 5, dtype=torch.bool))))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("attention", ["dot_product", "symmetric", "pairwise", "shared"])
def test_a_packed_document_is_what_it_is_alone(attention: str, positions: str) -> None:
    torch.manual_seed(0)
    config = LeanformerConfig(attention=attention, positions=positions, **SIZES)
    model = LeanformerForMaskedLM(config).double().eval()
    ids, documents = torch.randint(5, 23, (2, 13)), torch.tensor([[1] * 4 + [2] * 2 + [3] * 7, [4] * 12 + [5]])
    packed = model(ids, **within_documents(documents)).logits
    assert (packed - model(ids).logits).abs().max() > 1e-3
    for row, numbers in enumerate(documents):
        for number in numbers.unique():
            own = numbers == number
            assert_close(packed[row, own], model(ids[row : row + 1, own]).logits[0], rtol=1e-6, atol=1e-6)


def test_a_run_with_documents_learns_and_says_so(
    fork_server: Any,
    tmp_path: Path,
    settings: Callable[..., dict[str, Any]],
    curve: Callable[[Path], list[dict[str, Any]]],
) -> None:
    outcomes = [fork_server.run(tmp_path / str(flag), settings(document_mask=flag)) for flag in (False, True)]
    assert outcomes == [0, 0]
    plain, kept_apart = (curve(tmp_path / str(flag)) for flag in (False, True))
    assert plain != kept_apart and kept_apart[-1]["loss"] < kept_apart[0]["loss"]


@pytest.mark.parametrize("attention", ["random", "dense", "random+dot_product"])
def test_tables_of_positions_are_refused(attention: str, data: Path, tmp_path: Path, command: Any, tiny: list) -> None:
    chosen = ["--set", f"model.attention={attention}", "--set", "training.document_mask=true"]
    status, _, error = command("pretrain", "--data", data, "--out", tmp_path / "run", *tiny, *chosen)
    assert status == 2 and f"training.document_mask with {attention}: its table of positions" in error
    assert not (tmp_path / "run").exists()


def test_it_is_for_masked_language_models() -> None:
    with pytest.raises(ValueError, match='^training.document_mask = True: is for training.objective = "masked_lm"$'):
        TrainingSettings(objective="causal_lm", document_mask=True)

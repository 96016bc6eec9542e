"""Statistics of attention against matrices whose values are known by hand, and the page that shows the maps."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leanformer.attention import mechanism, names
from leanformer.evaluation import pretrained
from leanformer.evaluation.evaluate import evaluate
from leanformer.evaluation.probes.attention_maps import attention_maps, statistics, symmetry, uniform
from leanformer.evaluation.probes.attention_page import attention_page
from leanformer.models import LeanformerConfig, LeanformerForCausalLM, LeanformerForMaskedLM
from leanformer.models.initialisation import initialise

SIZES = dict(vocab_size=29, hidden_size=22, num_hidden_layers=2, num_attention_heads=11, intermediate_size=37)
IDS = torch.tensor([[2, 7, 11, 13, 5, 3], [2, 8, 8, 9, 23, 3]])


def built(kind, **changes):
    model = kind(LeanformerConfig(**(SIZES | {"max_position_embeddings": 19} | changes))).eval()
    initialise(model, 3)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model


def test_statistics_of_a_matrix_made_by_hand():
    """[CLS] asks nothing: rows 1 and 2 count."""
    weights = torch.tensor([[[[0.2, 0.3, 0.5], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]]])
    scores = torch.tensor([[[[9.0, 1.0, 2.0], [1.0, 9.0, 4.0], [2.0, 3.0, 9.0]]]])
    found = statistics(weights, scores, torch.tensor([[True, False, False]]))
    entropy = (0.5 * math.log(2) + 2 * 0.25 * math.log(4)) / 2
    deviations = [1 - 13 / 6, 2 - 13 / 6, 4 - 13 / 6, 3 - 13 / 6]  # of s_01 = s_10, s_02 = s_20, s_12, s_21
    a, b, c, d = deviations
    expected = {
        "entropy": entropy,
        "distance": (0.5 + 0.25 + 1.0) / 2,
        "itself": 0.25 / 2,
        "before": (0.5 + 1.0) / 2,
        "after": 0.25 / 2,
        "special": 0.5 / 2,
        "symmetry": (2 * a * a + 2 * b * b + 2 * c * d) / (2 * a * a + 2 * b * b + c * c + d * d),
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-6)


def test_symmetry_knows_its_extremes():
    scores = torch.randn(1, 1, 31, 31, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    transposed = scores.transpose(-1, -2)
    assert symmetry(scores + transposed).item() == pytest.approx(1)
    assert symmetry(scores - transposed).item() == pytest.approx(-1)
    assert abs(symmetry(scores).item()) < 0.15
    assert symmetry(torch.full((1, 1, 5, 5), 3.0)).item() == 1
    mixed = 3 * (scores + transposed) + (scores - transposed)
    off = ~torch.eye(31, dtype=torch.bool)
    even, odd = (3 * (scores + transposed))[..., off], (scores - transposed)[..., off]
    share = (even - even.mean()).square().sum() / ((even - even.mean()).square().sum() + odd.square().sum())
    assert (1 + symmetry(mixed).item()) / 2 == pytest.approx(share.item())


def test_uniform_attention_has_the_entropy_of_what_is_seen():
    special = torch.zeros(1, 7, dtype=torch.bool)
    assert statistics(*uniform(1, 7, False), special)["entropy"].item() == pytest.approx(math.log(7))
    seen = sum(math.log(i) for i in range(1, 8)) / 7
    assert statistics(*uniform(1, 7, True), special)["entropy"].item() == pytest.approx(seen)


@pytest.mark.parametrize("attention", names())
@pytest.mark.parametrize("kind", [LeanformerForMaskedLM, LeanformerForCausalLM])
def test_weights_are_the_softmax_of_the_scores_of_every_mechanism(attention, kind):
    positions = {"positions": "rotary"} if mechanism(attention).rotary else {}
    model = built(kind, attention=attention, **positions)
    maps = attention_maps(model, IDS)
    expected = model.base_model(input_ids=IDS, output_attentions=True).attentions
    assert len(maps) == 2
    for (weights, scores), whole in zip(maps, expected, strict=True):
        assert weights.shape == scores.shape == (2, 11, 6, 6)
        torch.testing.assert_close(weights, whole)
        if kind is LeanformerForCausalLM:
            scores = scores.masked_fill(~torch.ones(6, 6, dtype=torch.bool).tril(), -math.inf)
        torch.testing.assert_close(scores.softmax(-1), weights)


@pytest.mark.parametrize("mixer", ["clusters", "linear", "gmlp", "fourier"])
def test_a_mixer_that_scores_no_tokens_has_no_maps(mixer):
    with pytest.raises(ValueError, match=f"mixer '{mixer}' has no heads that score tokens"):
        attention_maps(built(LeanformerForMaskedLM, mixer=mixer), IDS)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_tied_queries_and_keys_are_symmetric_whatever_the_positions(positions):
    for attention, tied in (("symmetric", True), ("dot_product", False), ("pairwise", False)):
        model = built(LeanformerForMaskedLM, attention=attention, positions=positions)
        values = torch.stack([symmetry(scores.double()) for _, scores in attention_maps(model, IDS)])
        assert bool((values > 1 - 1e-5).all()) == tied


def test_a_run_is_described_layer_by_layer_and_head_by_head(run: Path, tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_text(" ".join(f"w{i % 24}" for i in range(190)))
    result = evaluate(run, "attention", file, limit=5)
    assert (result["sequences"], result["sequence_length"]) == (5, 19)
    assert [(row["layer"], row["head"]) for row in result["heads"]] == [(i, j) for i in (1, 2) for j in range(1, 12)]
    assert 0 < result["entropy"] <= math.log(19) + 1e-6
    mean = sum(row["entropy"] for row in result["heads"]) / 22
    assert result["entropy"] == pytest.approx(mean)
    assert set(result["heads"][0]["sd"]) == {"entropy", "distance", "itself", "before", "after", "special", "symmetry"}
    assert evaluate(run, "attention", file, limit=5) == result


def test_a_table_of_positions_is_described(make_model: Callable, tmp_path: Path):
    """Its scores are the parameter itself."""
    file = tmp_path / "text.txt"
    file.write_text(" ".join(f"w{i % 24}" for i in range(90)))
    assert 0 < evaluate(make_model(tmp_path / "table", attention="random"), "attention", file)["entropy"] < math.log(19)


def test_the_page_shows_every_head_of_both_models(run: Path, make_model: Callable, tmp_path: Path):
    other, out = make_model(tmp_path / "other", attention="symmetric"), tmp_path / "pages" / "page.html"
    attention_page([run, other], "w1 < w3", out)
    page = out.read_text()
    assert "<h1>w1 &lt; w3</h1>" in page
    assert page.count("<button") == 2 * 2 * 11
    assert not re.search(r'(src|href)="(?!data:)', page)
    blocks = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert [block["tokens"] for block in blocks] == [["[CLS]", "w1", "[UNK]", "w3", "[SEP]"]] * 2
    for block, folder in zip(blocks, (run, other), strict=True):
        maps = attention_maps(pretrained.load(folder / "model", "masked_lm").eval(), torch.tensor([[2, 6, 1, 8, 3]]))
        expected = torch.stack([weights[0] for weights, _ in maps])
        torch.testing.assert_close(torch.tensor(block["weights"]), expected, atol=6e-4, rtol=0)
    assert "symmetry of scores +1.00" in page


def test_an_encoder_decoder_and_an_empty_text_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="' ' is of 2 tokens"):
        attention_page([run], " ", tmp_path / "page.html")
    monkeypatch.setattr(pretrained, "objective", lambda folder: "seq2seq")
    with pytest.raises(ValueError, match="is an encoder-decoder, which reads two texts"):
        attention_page([run], "w1", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()

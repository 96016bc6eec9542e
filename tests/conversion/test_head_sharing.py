"""Shared heads: exact counts, chains to their roots, and the outputs of a dense model with copied rows."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from leanformer import LeanformerForMaskedLM
from leanformer.conversion.attention.convert_attention import convert_attention
from leanformer.conversion.attention.head_sharing import (
    Pair,
    match_heads,
    post_share_penalty,
    roots,
    share_heads,
    stored_blocks,
)
from leanformer.models.cost import ledger
from leanformer.models.head_bank import TIES, tied_maps

SETTINGS = [
    {},
    {"attention": "symmetric", "biases": False},
    {"attention": "pairwise", "positions": "rotary"},
    {"attention": "shared", "norm": "pre"},
    {"attention_options": {"projection": "shared_key_value"}},
    {"attention": "random+dot_product", "qk_norm": True},
]


@pytest.fixture
def deep(tiny, sharp):
    def made(**settings):
        return sharp(LeanformerForMaskedLM(tiny(num_hidden_layers=5, **settings)))

    return made


def with_rows_copied(model, pairs, tie):
    """The oracle: partners are earlier, so in the order of layers every copy is the root's."""
    dense = copy.deepcopy(model)
    for pair in sorted(pairs):
        here, there = (dense.encoder.layers[n].attention for n in (pair.layer, pair.partner_layer))
        to, of = (slice(10 * head, 10 * head + 10) for head in (pair.head, pair.partner_head))
        for name in tied_maps(model.config.projection(), tie):
            if name == "output":
                here.output.weight.data[:, to] = there.output.weight.data[:, of]
                continue
            ours, theirs = getattr(here.projection, name), getattr(there.projection, name)
            ours.weight.data[to] = theirs.weight.data[of]
            if ours.bias is not None:
                ours.bias.data[to] = theirs.bias.data[of]
    return dense


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_banked_model_is_the_dense_one_with_copied_rows(settings, tie, deep, batch, tmp_path):
    model = deep(**settings)
    before = copy.deepcopy(model.state_dict())
    pairs = match_heads(model)
    shared = share_heads(model, 0.4, tie)
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    dense = with_rows_copied(model, pairs[:6], tie)
    assert stored_blocks(shared) == 15 - 6
    expected = dense(**batch).logits
    assert (expected - model(**batch).logits).abs().max() > 1e-2
    assert_close(shared(**batch).logits, expected, rtol=0, atol=1e-6)
    shared.save_pretrained(tmp_path / "shared")
    loaded, report = LeanformerForMaskedLM.from_pretrained(tmp_path / "shared", output_loading_info=True)
    assert not any(report.values())
    assert_close(loaded.eval()(**batch).logits, shared(**batch).logits, rtol=0, atol=0)
    assert ledger(shared.config, 11)["parameters"]["total"] == shared.num_parameters()
    inner = sum(name != "output" for name in tied_maps(model.config.projection(), tie))
    bias = model.config.biases
    saved = 6 * (inner * (300 + 10 * bias) + (300 if tie == "qkvo" else 0))
    assert model.num_parameters() - shared.num_parameters() == saved
    sizes = [sum(tensor.nbytes for tensor in load_file(path).values()) for path in (tmp_path / "shared").glob("*.saf*")]
    model.save_pretrained(tmp_path / "model")
    whole = sum(tensor.nbytes for tensor in load_file(tmp_path / "model" / "model.safetensors").values())
    assert whole - sum(sizes) == 4 * saved


def test_gradients_are_those_of_tied_rows(deep, batch):
    model = deep()
    shared = share_heads(model, 0.4, "qkv")
    dense = with_rows_copied(model, match_heads(model)[:6], "qkv")
    for each in (shared, dense):
        each.train()(**batch).logits.sin().sum().backward()
    for name, bank in shared.encoder.head_banks.items():
        sums = torch.zeros_like(bank.weight)
        for layer, numbers in zip(dense.encoder.layers, shared.config.shared_heads["blocks"], strict=True):
            blocks = getattr(layer.attention.projection, name).weight.grad.split(10)
            for number, block in zip(numbers, blocks, strict=True):
                sums[number] += block
        assert_close(bank.weight.grad, sums, rtol=1e-4, atol=1e-5)


def test_nothing_shared_is_the_identity(deep, batch):
    model = deep()
    shared = share_heads(model, 0.0)
    assert shared.config.shared_heads is None and stored_blocks(shared) == 15
    assert_close(shared.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_chains_end_at_their_roots(deep):
    pairs = [Pair(2, 0, 1, 1, 0.9), Pair(1, 1, 0, 2, 0.8), Pair(3, 2, 2, 0, 0.7), Pair(3, 0, 2, 0, 0.6)]
    assert roots(pairs, 4, 3) == [[0, 1, 2], [3, 2, 4], [2, 5, 6], [2, 7, 2]]
    for share in (0.9, -0.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 0.8, since the first layer's heads have no partner"):
            share_heads(deep(), share)


def test_matches_are_cosines_of_query_and_key(deep):
    model = deep()
    planted = model.encoder.layers
    for name, sign in (("query", 1.0), ("key", 1.0)):
        here, there = (getattr(planted[n].attention.projection, name).weight.data for n in (3, 1))
        here[20:30] = sign * 0.5 * there[:10]
    pairs = match_heads(model)
    assert pairs[0][:4] == (3, 2, 1, 0) and pairs[0].cosine == pytest.approx(1)
    assert len(pairs) == 12 and all(pair.partner_layer < pair.layer for pair in pairs)
    layer, head, other, partner, cosine = pairs[5]
    vectors = []
    for n, h in ((layer, head), (other, partner)):
        projection = planted[n].attention.projection
        rows = slice(10 * h, 10 * h + 10)
        maps = (projection.query.weight[rows], projection.key.weight[rows])
        vectors.append(torch.cat([rows.detach().flatten() for rows in maps]))
    assert cosine == pytest.approx(float(torch.cosine_similarity(*vectors, dim=0)), rel=1e-5)


def test_the_penalty_is_the_mean_distance_and_pulls_pairs_together(deep, batch):
    model = deep()
    pairs = match_heads(model)[:6]
    expected = 0.0
    for pair in pairs:
        for name in ("query", "key", "value"):
            maps = [getattr(model.encoder.layers[n].attention.projection, name).weight for n in (pair[0], pair[2])]
            heads = [weight.detach().split(10)[head] for weight, head in zip(maps, (pair[1], pair[3]), strict=True)]
            expected += float((heads[0] - heads[1]).norm())
    penalty = post_share_penalty(model, pairs)
    before = float(penalty.detach())
    assert before == pytest.approx(expected / 6, rel=1e-5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        distance = post_share_penalty(model, pairs)
        distance.backward()
        optimizer.step()
    assert float(distance.detach()) < 0.5 * before
    with pytest.raises(ValueError, match="needs pairs"):
        post_share_penalty(model, [])


def test_a_head_at_its_partner_has_no_gradient_rather_than_none(deep):
    model = deep()
    pairs = match_heads(model)[:3]
    dense = with_rows_copied(model, pairs, "qkv")
    post_share_penalty(dense, pairs).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in dense.parameters())


def test_what_cannot_be_shared_is_refused(deep, tiny):
    with pytest.raises(ValueError, match="'value_only' have no query to share"):
        share_heads(deep(attention="random"), 0.2)
    with pytest.raises(ValueError, match="tie = 'kv'"):
        share_heads(deep(), 0.2, "kv")
    shared = share_heads(deep(), 0.2)
    with pytest.raises(ValueError, match="shared already"):
        share_heads(shared, 0.2)
    with pytest.raises(ValueError, match="shared_heads.blocks must be 2 lists of 3 numbers"):
        tiny(shared_heads={"tie": "qk", "blocks": [[0, 1, 2], [0, 1, 4]]})
    with pytest.raises(ValueError, match="shared_heads needs blocks and tie"):
        tiny(shared_heads={"tie": "q", "blocks": [[0, 1, 2], [0, 1, 2]]})


def test_a_shared_model_converts_on(deep, batch):
    shared = share_heads(deep(), 0.4, "qkvo")
    again, _ = convert_attention(shared, "pairwise", {"projection": "separate"})
    assert again.config.shared_heads is None
    assert_close(again(**batch).logits, shared(**batch).logits, rtol=0, atol=1e-5)


def test_the_command_shares(deep, tmp_path, command, batch):
    model = deep()
    model.save_pretrained(tmp_path / "model")
    arguments = ["--attention", "symmetric", "--share-heads", "0.4", "--tie", "qkv", "--json"]
    status, out, err = command("convert", tmp_path / "model", tmp_path / "shared", *arguments)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["tie"], found["head_blocks"], found["stored_blocks"], len(found["pairs"])) == ("qkv", 15, 9, 6)
    loaded = LeanformerForMaskedLM.from_pretrained(tmp_path / "shared")
    assert loaded.num_parameters() == found["parameters_after"]
    expected = share_heads(convert_attention(model, "symmetric", {})[0], 0.4, "qkv")
    assert_close(loaded.eval()(**batch).logits, expected(**batch).logits, rtol=0, atol=1e-6)
    status, out, _ = command("convert", tmp_path / "shared", tmp_path / "copy")
    assert status == 0 and stored_blocks(LeanformerForMaskedLM.from_pretrained(tmp_path / "copy")) == 9
    status, _, err = command("convert", tmp_path / "shared", tmp_path / "bert", "--to", "bert")
    assert status == 2 and "BERT cannot express" in err

"""Conversion on a text: layer after layer, against least squares, scipy and the formulas of the pages."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import LeanformerForMaskedLM
from leanformer.conversion.attention import rotary_fits
from leanformer.conversion.attention.bounded import LIMIT
from leanformer.conversion.attention.convert_attention import convert_attention, convert_on_text
from leanformer.conversion.attention.layer_maps import head_maps
from leanformer.conversion.attention.lockstep import RIDGE, lockstep, refit
from leanformer.conversion.attention.sample import Rows
from leanformer.conversion.attention.statistics import Statistics


@pytest.fixture
def sample():
    """Forty rows of 5 to 20 tokens of the tiny vocabulary, padded."""
    generator = torch.Generator().manual_seed(3)
    batches = []
    for longest in (8, 14, 20):
        lengths = torch.randint(5, longest + 1, (40,), generator=generator).sort().values
        lengths[-1] = longest
        ids = torch.randint(5, 40, (40, longest), generator=generator)
        mask = torch.arange(longest) < lengths[:, None]
        batches.append(Rows(ids * mask, mask))
    return SimpleNamespace(batches=batches)


def states(model, sample):
    with torch.no_grad():
        return torch.cat([model.base_model(rows.ids, rows.mask)[0][rows.mask] for rows in sample.batches])


def test_the_output_map_is_that_of_ridge_regression():
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    contexts, wanted = torch.randn(50, 6) + 3, torch.randn(50, 4) - 2
    c, y = (part.double().numpy() for part in (contexts, wanted))
    start, ridge = layer.weight.detach().double().numpy(), RIDGE * ((c - c.mean(0)) ** 2).sum(0).mean()
    rows = np.concatenate((c - c.mean(0), np.sqrt(ridge) * np.eye(6)))
    right = np.concatenate((y - y.mean(0), np.sqrt(ridge) * start.T))
    expected = np.linalg.lstsq(rows, right, rcond=None)[0].T
    with torch.no_grad():
        refit(layer, contexts, wanted - layer(contexts))
    assert_close(layer.weight.detach().double(), torch.from_numpy(expected), rtol=0, atol=1e-6)
    assert_close(layer.bias.detach().double(), torch.from_numpy(y.mean(0) - expected @ c.mean(0)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("pair", [("symmetric", "pairwise"), ("shared", "dot_product"), ("pairwise", "pairwise")])
def test_what_the_target_can_express_stays_exact_on_a_text(pair, norm, tiny, sharp, sample):
    source = sharp(LeanformerForMaskedLM(tiny(attention=pair[0], norm=norm)))
    target, residuals, comparison = convert_on_text(source, pair[1], {}, sample)
    assert_close(states(target, sample), states(source, sample), rtol=0, atol=1e-4)
    assert max(comparison.divergence) < 1e-5 and (
        nn.functional.cosine_similarity(comparison.source_vectors, comparison.target_vectors).min() > 1 - 1e-6
    )
    assert max(residual.logits_residual for residual in residuals) < 1e-4


@pytest.mark.parametrize("attention", ["symmetric", "shared"])
def test_layer_after_layer_is_nearer_than_each_by_itself(attention, tiny, sharp, sample):
    source = sharp(LeanformerForMaskedLM(tiny()))
    read = []
    for layer in source.base_model.layers:
        layer.attention.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    wanted, statistics = states(source, sample), []
    masks = [rows.mask for rows in sample.batches]
    for number in range(2):
        inputs = [x[mask] for x, mask in zip(read[number::2], masks, strict=True)]
        statistics.append(Statistics.of(torch.cat(inputs)))
    apart, _ = convert_attention(source, attention, {}, statistics)
    target, _, _ = convert_on_text(source, attention, {}, sample)
    errors = [float((states(model, sample) - wanted).square().mean()) for model in (target, apart)]
    assert errors[0] < 0.9 * errors[1]


def test_divergence_and_vectors_are_those_of_the_models(tiny, sharp, sample):
    """Computed from the models' own attention weights and last states, row by row and without padding."""
    models = [sharp(LeanformerForMaskedLM(tiny())) for _ in range(2)]
    sample.batches = sample.batches[:1]
    found = lockstep(*models, sample)
    kl, tokens, pooled = torch.zeros(2), 0, ([], [])
    rows = sample.batches[0]
    for ids, mask in zip(rows.ids, rows.mask, strict=True):
        answers = []
        for model, vectors in zip(models, pooled, strict=True):
            with torch.no_grad():
                answers.append(model.base_model(ids[None, : mask.sum()], output_attentions=True))
            vectors.append(answers[-1][0][0].mean(0))
        for layer in range(2):
            old, new = (answer.attentions[layer][0] for answer in answers)
            kl[layer] += (old * (old / new).log()).sum(-1).mean(0).sum()
        tokens += int(mask.sum())
    assert_close(torch.tensor(found.divergence), kl / tokens, rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(found[1:], pooled, strict=True):
        assert_close(mine, torch.stack(theirs), rtol=1e-4, atol=1e-5)


def test_tables_start_from_the_mean_attention_of_rows_of_any_length(tiny, sharp, sample):
    source = sharp(LeanformerForMaskedLM(tiny()))
    target, _, _ = convert_on_text(source, "random", {}, sample)
    total = torch.zeros(3, 20, 20)
    for rows in sample.batches:
        with torch.no_grad():
            weights = source.base_model(rows.ids, rows.mask, output_attentions=True).attentions[0]
        length = weights.shape[-1]
        total[:, :length, :length] += (weights * rows.mask[:, None, :, None]).sum(0)
    table = target.base_model.layers[0].attention.compatibility.table[:, :20, :20].softmax(-1)
    assert_close(table, total / total.sum(-1, keepdim=True), rtol=1e-3, atol=1e-5)


def test_moments_in_float32_are_those_of_float64():
    """Of numbers whose mean is large beside their spread, over several chunks."""
    torch.manual_seed(2)
    x = torch.randn(5_000, 7) * torch.logspace(-2, 1, 7) + 30
    found, exact = Statistics.of(x), Statistics.of(x.double())
    assert_close(found.mean, x.double().mean(0), rtol=1e-12, atol=0)
    assert_close(exact.second, x.double().T @ x.double() / 5_000, rtol=1e-12, atol=0)
    covariances = [each.second - torch.outer(each.mean, each.mean) for each in (found, exact)]
    assert_close(*covariances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attention", ["symmetric", "pairwise", "shared"])
def test_offsets_are_bounded_where_exact_ones_cancel(attention, tiny, sharp):
    """Query biases along keys of little variance ask for large offsets; the reported condition is the formula's."""
    source = sharp(LeanformerForMaskedLM(tiny()))
    torch.manual_seed(5)
    x = torch.randn(997, 30, dtype=torch.float64) * torch.logspace(0, -3, 30, dtype=torch.float64) + 1
    with torch.no_grad():
        for layer in source.base_model.layers:
            layer.attention.projection.query.bias.mul_(30)
    target, residuals = convert_attention(source, attention, {}, [Statistics.of(x)] * 2)
    olds, news = (head_maps(model.base_model.layers[0].attention) for model in (source, target))
    for old, new, residual in zip(olds, news, residuals[:3], strict=True):
        own, found = (
            float(
                (
                    (x @ head.query.weight.T + head.query.bias).square().mean(0)
                    @ (x @ head.key.weight.T + head.key.bias).square().mean(0)
                ).sqrt()
            )
            for head in (old, new)
        )
        query, key = x @ old.query.weight.T + old.query.bias, x @ old.key.weight.T + old.key.bias
        logits = query @ key.T
        size = float((logits - logits.mean(1, keepdim=True)).square().mean().sqrt())
        assert residual.logits_condition <= 1.01 * max(LIMIT, own / size)
        if attention != "pairwise":  # whose form stands between what is added up
            assert residual.logits_condition == pytest.approx(found / size, rel=0.01)


def test_rotary_coefficients_are_bounded_where_exact_ones_cancel(tiny, sharp, monkeypatch):
    """Keys that are nearly dependent ask for coefficients of thousands, of which rounding to bf16 leaves little."""
    source = sharp(LeanformerForMaskedLM(tiny(positions="rotary")))
    torch.manual_seed(5)
    x = torch.randn(997, 30, dtype=torch.float64)
    with torch.no_grad():
        for layer in source.base_model.layers:
            query, key = layer.attention.projection.query, layer.attention.projection.key
            key.bias.zero_(), query.bias.zero_()
            for queries, keys in zip(query.weight.split(10), key.weight.split(10), strict=True):
                rows = torch.linalg.qr(torch.randn(30, 10))[0].T  # both read the same ten directions
                queries.copy_(torch.linalg.qr(torch.randn(10, 10))[0] @ rows)
                keys.copy_((torch.ones(10, 10) + 1e-3 * torch.randn(10, 10)) @ rows)

    def rounded_error(limit):
        """Of the logits at distance zero, by weights and coefficients rounded to bf16; and the largest condition."""
        monkeypatch.setattr(rotary_fits, "LIMIT", limit)
        target, residuals = convert_attention(source, "pairwise", {}, [Statistics.of(x)] * 2)
        exact = head_maps(target.base_model.layers[0].attention)
        rough = head_maps(target.bfloat16().float().base_model.layers[0].attention)
        logits = [
            torch.stack([(x @ head.query.weight.T) @ (x @ head.key.weight.T).T for head in heads])
            for heads in (exact, rough)
        ]
        wanted = torch.stack([(x @ h.query.weight.T) @ (x @ h.key.weight.T).T for h in original])
        size = float(wanted.square().mean().sqrt())
        return float((logits[0] - logits[1]).square().mean().sqrt()) / size, residuals

    original = head_maps(source.base_model.layers[0].attention)
    error, residuals = rounded_error(LIMIT)
    own = max(
        float(
            ((x @ h.query.weight.T).square().mean(0).sum() * (x @ h.key.weight.T).square().mean(0).sum()).sqrt()
            / ((x @ h.query.weight.T) @ (x @ h.key.weight.T).T).square().mean().sqrt()
        )
        for h in original
    )
    assert max(residual.logits_condition for residual in residuals[:3]) <= 1.02 * max(LIMIT, own)
    assert error < LIMIT / 256
    unbounded, residuals = rounded_error(1e9)
    assert max(residual.logits_condition for residual in residuals[:3]) > 50 * LIMIT
    assert unbounded > 10 * error

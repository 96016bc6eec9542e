"""One attention to another: exact where the target can express the source, else as near as is said."""

import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel, models
from leanformer.attention import load_plugin
from leanformer.conversion.attention.convert_attention import convert_attention
from leanformer.conversion.attention.fits import FITS, Problem, value_error
from leanformer.conversion.attention.grouped_fits import fit_groups
from leanformer.conversion.attention.layer_maps import head_maps
from leanformer.conversion.attention.moments import Moments
from leanformer.conversion.attention.statistics import Statistics

ROTARY = {"positions": "rotary"}
EXACT = {
    "symmetric to separate": ({"attention": "symmetric"}, "dot_product", {}),
    "pairwise to separate": ({"attention": "pairwise"}, "dot_product", {}),
    "shared to separate": ({"attention": "shared"}, "dot_product", {}),
    "grid to separate": ({"attention_options": {"projection": "shared_key_value"}}, "dot_product", {}),
    "unscaled to scaled": ({"attention_options": {"scaled": False}}, "dot_product", {}),
    "scaled to unscaled": ({}, "dot_product", {"scaled": False}),
    "separate with coefficients": ({}, "pairwise", {"projection": "separate"}),
    "symmetric to pairwise": ({"attention": "symmetric"}, "pairwise", {}),
    "symmetric to shared keys": ({"attention": "shared"}, "dot_product", {"projection": "shared_key_value"}),
    "shared to shared queries": ({"attention": "shared"}, "dot_product", {"projection": "shared_query_value"}),
    "shared with coefficients": ({"attention": "shared"}, "pairwise", {"projection": "shared_all"}),
    "a table beside": ({}, "random+dot_product", {}),
    "factors beside": ({}, "factorized_random+dot_product", {}),
    "dense beside": ({}, "dense+dot_product", {}),
    "dense factors beside": ({}, "factorized_dense+dot_product", {}),
    "a table beside symmetric": ({"attention": "symmetric"}, "random+symmetric", {}),
    "rotary: symmetric to separate": (ROTARY | {"attention": "symmetric"}, "dot_product", {}),
    "rotary: pairwise to separate": (ROTARY | {"attention": "pairwise"}, "dot_product", {}),
    "rotary: phased to separate": (ROTARY | {"attention": "phased"}, "dot_product", {}),
    "rotary: symmetric to phased": (ROTARY | {"attention": "symmetric"}, "phased", {}),
    "rotary: symmetric to shared all but values": (ROTARY | {"attention": "symmetric"}, "pairwise", {}),
    "rotary: pairwise to phased coefficients": (ROTARY | {"attention": "phased"}, "pairwise", {}),
    "rotary: separate phases": (ROTARY, "phased", {"projection": "separate"}),
    "without biases": ({"attention": "symmetric", "biases": False}, "pairwise", {}),
    "pre-norm, gated": ({"attention": "shared", "norm": "pre", "feed_forward": "gated"}, "dot_product", {}),
}


def outputs(model, batch):
    attended = batch["attention_mask"].bool()
    return model(**batch)[0][attended]


@pytest.mark.parametrize("case", EXACT)
def test_what_the_target_can_express_is_exact(case, tiny, sharp, batch):
    settings, attention, options = EXACT[case]
    source = sharp(LeanformerForMaskedLM(tiny(**settings)))
    target, residuals = convert_attention(source, attention, options)
    assert_close(outputs(target, batch), outputs(source, batch), rtol=0, atol=2e-5)
    assert len(residuals) == 6
    for residual in residuals:
        assert residual.logits_residual < 1e-5
        assert residual.value_residual < 1e-5


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("tied", ["symmetric", "shared", "pairwise", "phased"])
def test_a_tied_model_written_out_is_found_again(tied, rotary, tiny, sharp, batch):
    """Tied, as separate maps, and tied again: signs, planes and bases may differ, outputs may not."""
    if tied == "phased" and not rotary:
        pytest.skip("phases need rotary positions")
    source = sharp(LeanformerForMaskedLM(tiny(attention=tied, positions="rotary" if rotary else "learned")))
    if tied == "shared" and rotary:  # planes of which both channels have one scale
        for layer in source.encoder.layers:
            for part in ("query", "key", "value"):
                getattr(layer.attention.projection, f"{part}_scale").data.fill_(1.0 if part != "query" else -1.0)
    written, _ = convert_attention(source, "dot_product", {})
    if tied == "pairwise" and rotary:  # keys are kept, and queries are made of them
        again, residuals = convert_attention(written, "pairwise", {})
    else:
        again, residuals = convert_attention(written, tied, {})
    assert_close(outputs(again, batch), outputs(source, batch), rtol=0, atol=1e-4)
    assert max(residual.logits_residual for residual in residuals) < 1e-5


@pytest.fixture
def trained(tiny, sharp):
    """Heads of which nothing is tied, with one layer's statistics of a real input, far from its mean."""
    model = sharp(LeanformerForMaskedLM(tiny()))
    x = torch.randn(997, 30, dtype=torch.float64) @ torch.randn(30, 30, dtype=torch.float64) + 2
    statistics = Statistics(x.mean(0), x.T @ x / len(x), torch.full((3, 29, 29), 1 / 29, dtype=torch.float64))
    return model, statistics, x


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("attention", ["symmetric", "pairwise", "shared"])
def test_residuals_are_what_the_logits_of_the_target_miss(attention, weighted, trained):
    """Measured on the target's own maps: logits of pairs of tokens, each row without its mean, as softmax sees them."""
    model, statistics, x = trained
    target, residuals = convert_attention(model, attention, {}, [statistics] * 2 if weighted else None)
    if not weighted:  # tokens of mean zero and variance one, exactly
        x = torch.linalg.qr(torch.cat((torch.ones(997, 1), torch.randn(997, 30)), 1).double())[0][:, 1:] * 997**0.5
    for layer in (0, 1):
        heads = [head_maps(each.encoder.layers[layer].attention) for each in (model, target)]
        for number, (old, new) in enumerate(zip(*heads, strict=True)):
            seen = []
            for head in (old, new):
                query, key = (x @ part.weight.T + part.bias for part in (head.query, head.key))
                logits = query @ key.T
                seen.append(logits - logits.mean(1, keepdim=True))
            expected = ((seen[0] - seen[1]).square().sum() / seen[0].square().sum()).sqrt()
            found = residuals[3 * layer + number].logits_residual
            assert found == pytest.approx(float(expected), rel=2e-3)  # the ridge, and float32 weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("attention", ["symmetric", "phased", "pairwise", "shared"])
def test_rotary_residuals_are_what_the_planes_of_the_target_miss(attention, weighted, tiny, sharp, trained):
    """Over all distances alike: |q_i conj(k_j)| of every plane, on pairs of tokens."""
    _, statistics, x = trained
    model = sharp(LeanformerForMaskedLM(tiny(positions="rotary")))
    target, residuals = convert_attention(model, attention, {}, [statistics] * 2 if weighted else None)
    if not weighted:
        x = torch.linalg.qr(torch.cat((torch.ones(997, 1), torch.randn(997, 30)), 1).double())[0][:, 1:] * 997**0.5
    both = [head_maps(each.encoder.layers[1].attention) for each in (model, target)]
    for number, heads in enumerate(zip(*both, strict=True)):
        planes = []
        for head in heads:
            query, key = ((x @ part.weight.T + part.bias)[:200] for part in (head.query, head.key))
            query, key = (torch.complex(*part.chunk(2, dim=1)) for part in (query, key))
            planes.append(query[:, None] * key.conj()[None])
        expected = ((planes[0] - planes[1]).abs().square().sum() / planes[0].abs().square().sum()).sqrt()
        assert residuals[3 + number].logits_residual == pytest.approx(float(expected), rel=0.1)  # 200 of 997 tokens


@pytest.mark.parametrize("attention", ["pairwise", "shared"])
def test_no_space_nearby_is_better(attention, trained):
    """The target as a function of its parameters: a step down its own gradient gains next to nothing."""
    model, _, _ = trained
    head = head_maps(model.encoder.layers[0].attention)[0]
    problem = Problem(head, torch.zeros(30, dtype=torch.float64), torch.eye(30, dtype=torch.float64), 10**-0.5)
    kind = ("qk,v", "matrix") if attention == "pairwise" else ("qkv", "scale")
    start = FITS[kind](problem)
    token = next(iter(start.maps.values()))
    T = token.weight.clone().requires_grad_()

    def loss(T):
        V = torch.linalg.qr(T.T)[0]
        N = head.query.weight.T @ head.key.weight / 10**-0.5
        r = head.key.weight.T @ head.query.bias / 10**-0.5
        if attention == "pairwise":
            return N.square().sum() - (V.T @ N @ V).square().sum() - (V.T @ r).square().sum()
        S, value = (N + N.T) / 2, head.output @ head.value.weight
        share = (N.square().sum() + r.square().sum()) / value.square().sum()
        kept = (V.T @ S @ V).square().sum() + (V.T @ r).square().sum() + share * (value @ V).square().sum()
        return -kept

    value = loss(T)
    value.backward()
    scale = float(value.detach().abs() / T.detach().norm())
    assert float(T.grad.norm()) < 2e-3 * scale
    for _ in range(20):
        other = T.detach() + 0.05 * torch.randn_like(T) * T.detach().std()
        assert loss(other) > value


def test_symmetric_fits_are_the_positive_part(tiny, sharp):
    """Without biases T' T is the projection of (N + N') / 2 to what is positive: Eckart and Young, Higham."""
    model = sharp(LeanformerForMaskedLM(tiny(biases=False)))
    target, residuals = convert_attention(model, "symmetric", {})
    both = [head_maps(each.encoder.layers[0].attention) for each in (model, target)]
    for old, new, residual in zip(*both, residuals[:3], strict=True):
        N = old.query.weight.T @ old.key.weight
        values, vectors = torch.linalg.eigh((N + N.T) / 2)
        positive = (vectors * values.clamp(min=0)) @ vectors.T
        assert_close(new.query.weight.T @ new.key.weight, positive, rtol=0, atol=1e-5)
        assert residual.logits_residual == pytest.approx(float((N - positive).norm() / N.norm()), rel=1e-5)


def descended(wanted, phased, seed):
    """The relative error of the best e^(i phi) gamma gamma^H that gradient descent finds."""
    torch.manual_seed(seed)
    gamma = torch.randn(2, *wanted.shape[:2], dtype=torch.float64).mul(0.5).requires_grad_()
    phase = torch.zeros(len(wanted), dtype=torch.float64, requires_grad=phased)
    learned = [gamma, phase] if phased else [gamma]
    optimizer = torch.optim.LBFGS(learned, max_iter=500, line_search_fn="strong_wolfe")

    def error():
        planes = torch.complex(*gamma)
        fit = planes[:, :, None] * planes.conj()[:, None] * torch.exp(1j * phase)[:, None, None]
        return (wanted - fit).abs().square().sum()

    def closure():
        optimizer.zero_grad()
        loss = error()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float((error().detach() / wanted.abs().square().sum()).sqrt())


@pytest.mark.parametrize("attention", ["symmetric", "phased"])
def test_rotary_fits_are_best_in_every_plane(attention, tiny, sharp):
    """Against gradient descent on what a plane is, from where the start is and from elsewhere."""
    model = sharp(LeanformerForMaskedLM(tiny(positions="rotary")))
    _, residuals = convert_attention(model, attention, {})
    head = head_maps(model.encoder.layers[0].attention)[0]
    rows = [torch.cat((part.weight, part.bias[:, None]), 1) for part in (head.query, head.key)]
    alpha, beta = (torch.complex(*part.chunk(2)) for part in rows)
    wanted = alpha[:, :, None] * beta.conj()[:, None]
    best = min(descended(wanted, attention == "phased", seed) for seed in range(3))
    assert residuals[0].logits_residual <= best + 1e-6
    assert residuals[0].logits_residual == pytest.approx(best, rel=1e-3)


def test_a_table_is_the_mean_of_what_heads_look_at(tiny, sharp):
    model = sharp(LeanformerForMaskedLM(tiny()))
    weights = torch.rand(3, 29, 29, dtype=torch.float64).softmax(-1)
    statistics = [Statistics(torch.zeros(30).double(), torch.eye(30).double(), weights)] * 2
    for attention in ("random", "fixed_random"):
        target, residuals = convert_attention(model, attention, {}, statistics)
        table = target.encoder.layers[1].attention.compatibility.table
        assert_close(table.softmax(-1), weights.float())
        assert residuals[0].logits_residual is None
    target, _ = convert_attention(model, "factorized_random", {"rank": 29}, statistics)
    part = target.encoder.layers[0].attention.compatibility
    assert_close((part.left @ part.right.transpose(-1, -2)).softmax(-1), weights.float(), rtol=0, atol=1e-6)
    short = [Statistics(one.mean, one.second, weights[:, :7, :7].softmax(-1)) for one in statistics]
    target, _ = convert_attention(model, "random", {}, short)
    table = target.encoder.layers[0].attention.compatibility.table
    assert_close(table[:, :7, :7].softmax(-1), short[0].weights.float())
    assert_close(table[:, 28, 20], table[:, 9, 1])  # beyond the sample a distance is what counts


REFUSED = {
    "dense": ({}, "dense", {}, "dense: its scores are a network of one token"),
    "no text": ({}, "random", {}, "random starts from where the model looks: give a sample of text with --text"),
    "norms": ({"qk_norm": True}, "pairwise", {}, "qk_norm divides by what it compares"),
    "shares": ({}, "random+dot_product", {"weights": "softmax"}, "weights = 'softmax' starts with shares of every"),
    "phases": ({}, "phased", {}, "phased rotates queries by their positions, and the model has learned ones"),
    "nothing compared": ({"attention": "random"}, "dot_product", {}, "scores of random are no product of a query"),
    "a mixture": ({"attention": "random+dot_product"}, "symmetric", {}, "random.dot_product are no product"),
    "two": ({}, "pairwise+dot_product", {"projection": "separate"}, "has two parts that compare"),
    "misspelt": ({}, "pairwize", {}, "unknown attention mechanism 'pairwize'; did you mean 'pairwise'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(case, tiny):
    settings, attention, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        convert_attention(LeanformerForMaskedLM(tiny(**settings)), attention, options)


def test_decoders_keep_their_attention(tiny):
    with pytest.raises(ValueError, match="LeanformerForCausalLM has a decoder: only encoders"):
        convert_attention(LeanformerForCausalLM(tiny()), "symmetric", {})


def test_an_encoder_alone_converts_too(tiny, sharp, batch):
    for pooled in (True, False):
        source = sharp(LeanformerModel(tiny(attention="symmetric"), add_pooling_layer=pooled))
        target, _ = convert_attention(source, "pairwise", {})
        assert isinstance(target, models.LeanformerModel) and (target.pooler is not None) == pooled
        assert_close(outputs(target, batch), outputs(source, batch), rtol=0, atol=2e-5)


def test_multi_query_starts_from_the_mean_key_and_value(tiny, sharp, batch):
    """Ainslie et al., 2023: pooled by the mean. Heads that have one key and one value already are kept exactly."""
    source = sharp(LeanformerForMaskedLM(tiny()))
    target, residuals = convert_attention(source, "multi_query", {})
    for old, new in zip(source.encoder.layers, target.encoder.layers, strict=True):
        old, new = old.attention.projection, new.attention.projection
        for part in ("key", "value"):
            one, many = getattr(new, part), getattr(old, part)
            assert_close(one.weight, many.weight.view(3, 10, 30).mean(0))
            assert_close(one.bias, many.bias.view(3, 10).mean(0))
        assert_close(new.query.weight, old.query.weight)
    assert min(residual.logits_residual for residual in residuals) > 0.1 < residuals[0].value_residual
    again, exact = convert_attention(convert_attention(target, "dot_product", {})[0], "multi_query", {})
    assert_close(outputs(again, batch), outputs(target, batch), rtol=0, atol=2e-5)
    assert max(max(residual.logits_residual, residual.value_residual) for residual in exact) < 1e-5


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_residuals_of_pooled_heads_are_what_their_maps_miss(positions, tiny, sharp):
    """By the formula, under no text: |N - N'| with x of mean zero and variance one, biases apart."""
    model = sharp(LeanformerForMaskedLM(tiny(biases=False, positions=positions)))
    target, residuals = convert_attention(model, "multi_query", {})
    both = [head_maps(each.encoder.layers[0].attention) for each in (model, target)]
    for old, new, residual in zip(*both, residuals[:3], strict=True):
        if positions == "learned":
            forms = [head.query.weight.T @ head.key.weight for head in (old, new)]
        else:
            planes = [[torch.complex(*m.weight.chunk(2)) for m in (head.query, head.key)] for head in (old, new)]
            forms = [torch.einsum("cd,ce->cde", alpha, beta.conj()) for alpha, beta in planes]
        expected = (forms[0] - forms[1]).norm() / forms[0].norm()
        assert residual.logits_residual == pytest.approx(float(expected), rel=1e-5)
        values = [head.output @ head.value.weight for head in (old, new)]
        expected = (values[0] - values[1]).norm() / values[0].norm()
        assert residual.value_residual == pytest.approx(float(expected), rel=1e-5)


GROUPED = {
    "means": ({}, {"kv_heads": 2}, False),
    "fit": ({}, {"kv_heads": 2}, True),
    "rotary fit": (ROTARY, {"kv_heads": 2}, True),
    "without biases": ({"biases": False}, {"kv_heads": 2}, True),
    "coefficients": ({"attention": "pairwise"}, {"kv_heads": 1, "projection": "separate"}, True),
    "key = value": ({}, {"kv_heads": 2, "projection": "shared_key_value"}, True),
    "key = value by weights": ({}, {"kv_heads": 1, "projection": "shared_key_value"}, False),
    "rotary key = value": (ROTARY, {"kv_heads": 2, "projection": "shared_key_value"}, True),
}
SIX = {"num_attention_heads": 6, "hidden_size": 24}


def spread_out(width=24):
    """Statistics of inputs with a mean, in all directions, some of which are larger."""
    x = torch.randn(500, width, dtype=torch.float64) * torch.linspace(0.1, 2, width) + torch.randn(width)
    return Statistics(x.mean(0), x.T @ x / len(x), torch.empty(0))


@pytest.mark.parametrize("case", GROUPED)
def test_heads_that_are_grouped_already_are_grouped_exactly(case, tiny, sharp, batch):
    """A model of grouped heads, written as separate ones and converted back; with keys that are the values, too."""
    settings, options, sampled = GROUPED[case]
    source = sharp(LeanformerForMaskedLM(tiny(attention_options=options, **SIX, **settings)))
    separate, exact = convert_attention(source, "dot_product", {})
    assert max(residual.logits_residual for residual in exact) < 1e-5
    statistics = [spread_out(), spread_out()] if sampled else None
    target, residuals = convert_attention(separate, source.config.attention, options, statistics)
    assert_close(outputs(target, batch), outputs(source, batch), rtol=0, atol=5e-5)
    assert max(max(residual.logits_residual, residual.value_residual) for residual in residuals) < 1e-4


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_fit_of_a_group_has_the_least_error_there_is(positions, tiny, sharp):
    """Eckart and Young: what all heads' forms, one below another, have beyond the rank of the group's key; and values.
    By weights, without biases."""
    source = sharp(LeanformerForMaskedLM(tiny(positions=positions, biases=False, **SIX)))
    heads = head_maps(source.encoder.layers[0].attention)
    moments = Moments.of(Statistics.unknown(24), centred=False, rotary=positions == "rotary")
    fitted = [head for head, _ in fit_groups(heads, 2, moments, tied=False)]

    def forms(head):
        if positions == "learned":
            return (head.query.weight.T @ head.key.weight)[None]
        alpha, beta = (torch.complex(*part.weight.chunk(2)) for part in (head.query, head.key))
        return torch.einsum("cd,ce->cde", alpha, beta.conj())

    def values(head):
        return (head.output @ head.value.weight)[None]

    for made, rank in ((forms, 4 if positions == "learned" else 1), (values, 4)):
        for group in (slice(0, 3), slice(3, 6)):
            old, new = (
                torch.stack([made(head) for head in each[group]], dim=1).flatten(1, 2) for each in (heads, fitted)
            )
            beyond = torch.linalg.svdvals(old)[:, rank:].square().sum()
            assert float((old - new).abs().square().sum()) == pytest.approx(float(beyond), rel=1e-6)
            assert len({id(head.key) for head in fitted[group]}) == 1


@pytest.mark.parametrize("settings", [{}, ROTARY], ids=["learned", "rotary"])
def test_on_a_text_the_fit_of_a_group_is_nearer_than_the_means(settings, tiny, sharp):
    source, known = sharp(LeanformerForMaskedLM(tiny(**SIX, **settings))), [spread_out(), spread_out()]
    moments = [Moments.of(each, centred=True, rotary=bool(settings)) for each in known]
    _, fitted = convert_attention(source, "dot_product", {"kv_heads": 2}, known)
    target, _ = convert_attention(source, "dot_product", {"kv_heads": 2})
    found = []
    for each, old, new in zip(moments, source.encoder.layers, target.encoder.layers, strict=True):
        for pair in zip(*(head_maps(layer.attention) for layer in (old, new)), strict=True):
            found.append((each.logits_error(*pair), value_error(*pair, each.metric)))
    means = torch.tensor(found).mean(0)
    fit = torch.tensor([(each.logits_residual, each.value_residual) for each in fitted]).mean(0)
    assert (fit < 0.9 * means).all()


@pytest.fixture
def bilinear(own_registry, tmp_path):
    """The plug-in of docs/add-a-mechanism.md."""
    page = Path(__file__).parents[2] / "docs" / "add-a-mechanism.md"
    file = tmp_path / "bilinear.py"
    file.write_text(re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL).group(1))
    load_plugin(file)
    return "bilinear"


PLUGIN = {
    "separate": ({}, {"projection": "separate", "rank": 10}),
    "separate, more than full rank": ({}, {"projection": "separate", "rank": 11}),
    "separate, rotary": (ROTARY, {"projection": "separate", "rank": 10}),
    "symmetric": ({"attention": "symmetric"}, {"rank": 10}),
    "pairwise": ({"attention": "pairwise"}, {"rank": 10}),
    "shared": ({"attention": "shared"}, {"projection": "shared_all", "rank": 10}),
}


@pytest.mark.parametrize("case", PLUGIN)
def test_a_plug_in_converts_by_its_bilinear_form(case, bilinear, tiny, sharp, batch):
    """To it and back, with equal outputs, though conversion has never heard of its class."""
    settings, options = PLUGIN[case]
    source = sharp(LeanformerForMaskedLM(tiny(**settings)))
    target, residuals = convert_attention(source, bilinear, options)
    assert_close(outputs(target, batch), outputs(source, batch), rtol=0, atol=5e-5)
    assert max(residual.logits_residual for residual in residuals) < 1e-5
    back, _ = convert_attention(target, "dot_product", {})
    assert_close(outputs(back, batch), outputs(source, batch), rtol=0, atol=5e-5)


@pytest.mark.parametrize("options", [{"rank": 3}, {"rank": 3, "projection": "separate"}])
def test_a_form_of_low_rank_is_the_nearest_and_its_residual_that_of_what_was_taken(options, bilinear, tiny, sharp):
    model = sharp(LeanformerForMaskedLM(tiny(biases=False)))
    target, residuals = convert_attention(model, bilinear, options)
    both = [head_maps(each.encoder.layers[1].attention) for each in (model, target)]
    for old, new, residual in zip(*both, residuals[3:], strict=True):
        forms = [head.query.weight.T @ head.key.weight for head in (old, new)]
        assert torch.linalg.matrix_rank(forms[1], rtol=1e-5) == 3
        expected = (forms[0] - forms[1]).norm() / forms[0].norm()
        assert residual.logits_residual == pytest.approx(float(expected), rel=1e-4)

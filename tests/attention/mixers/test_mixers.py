"""Token mixers: the contract they share, and each one's formula by loops."""

import math
import statistics

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from leanformer.attention import Heads, Positions, Rotary, check_mixer, mixer, mixer_options
from leanformer.attention.density_peaks import _ranks, density_peaks, members
from leanformer.attention.shape import Shape

B, L, D, H, LONGEST = 2, 11, 24, 4, 13
CONVOLUTION = [
    ("convolution", "dot_product", {}, {}),
    ("convolution", "dot_product", {"head_ratio": 4, "kernel": 3}, {"projection": "shared_key_value"}),
    ("convolution", "dot_product", {"head_ratio": 1, "kernel": 5}, {"projection": "shared_query_value", "bias": False}),
    ("convolution", "symmetric", {"head_ratio": 3, "kernel": 7}, {}),
    ("convolution", "pairwise", {"kernel": 5}, {"qk_norm": True}),
    ("convolution", "shared", {"kernel": 3}, {"head_size": 10}),
    ("convolution", "random+dot_product", {"kernel": 3}, {}),
]
CLUSTERS = [
    ("clusters", "dot_product", {}, {}),
    ("clusters", "dot_product", {"scales": 2, "ratio": 5, "neighbours": 3}, {"qk_norm": True}),
    ("clusters", "pairwise", {"scales": 2, "clusters": 2}, {"projection": "separate", "head_size": 10}),
    ("clusters", "symmetric", {"clusters": 5}, {}),
    ("clusters", "shared", {"ratio": 2}, {}),
]
ROWS = CONVOLUTION + CLUSTERS


def row_id(row):
    return "-".join([row[0], row[1], *(f"{k}={v}" for part in row[2:] for k, v in part.items())])


every = pytest.mark.parametrize("row", ROWS, ids=row_id)


def layer(row, dtype=torch.float64):
    kind, mechanism, mixing, options = row
    torch.manual_seed(1)
    built = mixer(kind)(mechanism, D, H, LONGEST, **mixing, **options).to(dtype)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.4)
    return built.eval()


def inputs(seed, length=L):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, D, dtype=torch.float64, generator=generator)


def padding(*places, length=L):
    mask = torch.ones(B, 1, 1, length, dtype=torch.bool)
    mask[1, ..., list(places)] = False
    return mask


@pytest.mark.parametrize("row", [row for row in CONVOLUTION if "+" not in row[1]], ids=row_id)
@pytest.mark.parametrize("masked", [False, True])
def test_convolution_equals_the_formula_in_values_and_gradients(row, masked):
    module, x = layer(row), inputs(2).requires_grad_()
    mask = padding(0, 4, 10) if masked else None
    expected, actual = by_loops(module, x, mask), module(x, mask=mask)
    assert_close(actual, expected, rtol=1e-9, atol=1e-11)
    leaves = [x, *module.parameters()]
    weight = inputs(3)
    found, wanted = (
        torch.autograd.grad((y * weight).sum(), leaves, allow_unused=True, retain_graph=True)
        for y in (actual, expected)
    )
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-10)


def by_loops(module, x, mask):
    """One position, head and tap at a time; of attention's own it takes query and scores."""
    heads, part = module.projection(x, x), module.convolution
    scores = module.compatibility(heads, x, x, Positions.counted(L, L, x.device)).dense()
    size, reach, rows = module.shape.head_size, part.kernel // 2, []
    real = torch.ones(B, L, dtype=torch.bool) if mask is None else mask[:, 0, 0].expand(B, L)

    def affine(linear, vector):
        product = linear.weight @ vector
        return product if linear.bias is None else product + linear.bias

    for b in range(B):
        for t in range(L):
            near = {j: t + j - reach for j in range(part.kernel) if 0 <= t + j - reach < L and real[b, t + j - reach]}
            span = sum((part.depthwise.weight[:, 0, j] * x[b, i] for j, i in near.items()), torch.zeros_like(x[0, 0]))
            product = affine(part.span, span) * heads.query[b, :, t].flatten()
            kernels = affine(part.weights, product).unflatten(0, (-1, part.kernel))
            attended, convolved = [], []
            for h in range(module.shape.num_heads):
                seen = [j for j in range(L) if real[b, j]]
                weights = torch.stack([scores.expand(B, -1, -1, -1)[b, h, t, j] for j in seen]).exp()
                value = sum(w * heads.value[b, h, j] for w, j in zip(weights, seen, strict=True))
                attended.append(value / weights.sum())
                taps = kernels[h].exp() / kernels[h].exp().sum()
                cut = slice(h * size, (h + 1) * size)
                zero = torch.zeros(size, dtype=x.dtype)
                convolved.append(sum((taps[j] * affine(part.value, x[b, i])[cut] for j, i in near.items()), zero))
            rows.append(affine(module.output, torch.cat(attended + convolved)))
    return torch.stack(rows).unflatten(0, (B, L))


@every
def test_padding_has_no_say(row):
    """Neither what stands in it nor how much of it there is, on either side; NaN would show."""
    module, x = layer(row), inputs(2)
    expected = module(x)
    for before, after in ((0, 2), (2, 0), (1, 1)):
        if before and "random" in row[1]:
            continue  # whose tables know places
        wide = torch.cat((inputs(5)[:, :before], x, inputs(6)[:, :after]), 1)
        mask = torch.zeros(B, 1, 1, L + 2, dtype=torch.bool)
        mask[..., before : before + L] = True
        wide[~mask[:, 0, 0]] = 1e3
        assert_close(module(wide, mask=mask)[:, before : before + L], expected, rtol=1e-9, atol=1e-11)


@every
def test_batch_rows_are_independent(row):
    module, x, mask = layer(row), inputs(2), padding(8, 9, 10)
    alone = torch.cat([module(x[b : b + 1], mask=mask[b : b + 1]) for b in range(B)])
    assert_close(module(x, mask=mask), alone, rtol=1e-9, atol=1e-11)


@every
def test_an_empty_sequence_is_finite_and_moves_nothing(row):
    module, x, mask = layer(row), inputs(2).requires_grad_(), padding(*range(L))
    context = module(x, mask=mask)
    assert_close(context[1], module.output(torch.zeros(L, module.output.in_features, dtype=x.dtype)))
    for gradient in torch.autograd.grad(context.square().sum(), [x, *module.parameters()], allow_unused=True):
        assert gradient is None or gradient.isfinite().all()


@every
def test_fused_equals_plain_and_weights_add_up(row):
    module, x, mask = layer(row), inputs(2), padding(7, 8, 9, 10)
    module.fused = False
    plain = module(x, mask=mask)
    module.fused = True
    assert_close(module(x, mask=mask), plain, rtol=1e-9, atol=1e-11)
    context, weights = module(x, mask=mask, return_weights=True)
    assert_close(context, plain, rtol=1e-9, atol=1e-11)
    assert_close(weights.sum(-1), torch.ones(B, module.shape.num_heads, L, dtype=x.dtype))
    assert weights.shape[-1] == L and not weights[1, ..., 7:].any()


@every
def test_counts_are_exact_and_every_parameter_learns(row):
    kind, mechanism, mixing, options = row
    for bias in (True, False):
        module = layer((kind, mechanism, mixing, options | {"bias": bias}))
        assert module.num_params() == sum(p.numel() for p in module.parameters())
        module.fused = False
        with FlopCounterMode(display=False) as counter:
            context = module(inputs(2)[:1])
        assert counter.get_total_flops() == module.flops(L)
        named = dict(module.named_parameters())
        gradients = torch.autograd.grad((context * inputs(3)[:1]).sum(), list(named.values()))
        silent = {name for name, gradient in zip(named, gradients, strict=True) if gradient.abs().max() < 1e-9}
        assert silent <= {"projection.key.bias", "fine_key.bias"}, "softmax cancels a key's bias, and nothing else"


@every
def test_bf16_is_near_and_compiles_whole(row):
    module, x, mask = layer(row, torch.float32), inputs(2).float(), padding(9, 10)
    expected = module(x, mask=mask)
    if row[0] == "convolution":
        with torch.autocast("cpu", torch.bfloat16):
            half = module(x, mask=mask)
        assert half.dtype == torch.bfloat16
        assert (half.float() - expected).norm() < 0.03 * expected.norm()
    if row not in (CONVOLUTION[0], CLUSTERS[1]):
        return  # compiling takes its time
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert_close(compiled(x, mask=mask), expected, rtol=1e-4, atol=1e-5)


@every
def test_state_dict_restores_the_layer(row):
    module, other = layer(row), layer(row)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(module.state_dict())
    assert_close(other(inputs(2)), module(inputs(2)))
    pointers = [value.data_ptr() for value in module.state_dict().values()]
    assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("kind", ["convolution", "clusters"])
def test_what_a_mixer_cannot_do_is_one_line(kind):
    module, x = layer((kind, "dot_product", {}, {})), inputs(2)
    with pytest.raises(ValueError, match="an encoder's only"):
        module(x, memory=inputs(3))
    with pytest.raises(ValueError, match="an encoder's only"):
        module(x, causal=True)
    with pytest.raises(ValueError, match="leave out training.document_mask"):
        module(x, mask=torch.ones(1, 1, L, L, dtype=torch.bool))
    with pytest.raises(ValueError, match="longer than max_length = 13"):
        module(inputs(2, LONGEST + 1))


def test_without_the_mask_padding_leaks_as_it_does_in_published_code():
    module, x, mask = layer(("convolution", "dot_product", {"mask_conv": False}, {})), inputs(2), padding(9, 10)
    other = x.clone()
    other[1, 9:] = 0
    difference = (module(other, mask=mask) - module(x, mask=mask)).abs()
    assert difference[1, :9].max() > 1e-3
    assert difference[1, :5].max() == 0, "half a kernel does not reach further"


def test_a_kernel_of_one_is_a_map_of_the_token():
    module = layer(("convolution", "dot_product", {"kernel": 1}, {})).convolution
    x, query = inputs(2), torch.randn(B, 2, L, 6, dtype=torch.float64)
    assert_close(module(x, query), module.value(x))


def test_rotation_is_for_the_half_that_attends():
    module, x = layer(("convolution", "dot_product", {}, {})), inputs(2)
    seen = []
    module.convolution.register_forward_hook(lambda part, args, output: seen.append(output))
    with torch.no_grad():
        for rotary in (None, Rotary(module.shape.head_size)):
            module(x, positions=Positions.counted(L, L, x.device, rotary))
    assert_close(seen[0], seen[1])


@pytest.mark.parametrize(
    ("kind", "mechanism", "mixing", "message"),
    [
        ("convolutions", "dot_product", {}, "unknown mixer 'convolutions'.*convolution"),
        ("attention", "dot_product", {"kernel": 3}, "'attention' has no option 'kernel'; it has none"),
        ("convolution", "dot_product", {"kernal": 3}, "has no option 'kernal'.*kernel"),
        ("convolution", "dot_product", {"kernel": 8}, "kernel = 8: an odd number"),
        ("convolution", "dot_product", {"kernel": 0}, "kernel = 0: an odd number"),
        ("convolution", "dot_product", {"kernel": 3.0}, "kernel = 3.0: an odd number"),
        ("convolution", "dot_product", {"head_ratio": 5}, "head_ratio = 5 leaves no heads: .* num_heads = 4"),
        ("convolution", "dot_product", {"head_ratio": 0}, "head_ratio = 0 leaves no heads"),
        ("clusters", "random", {}, "means without a place, and random needs places"),
        ("clusters", "dot_product", {"ratio": 0}, "ratio = 0: a whole number from 1 on"),
        ("clusters", "dot_product", {"clusters": 0}, "clusters = 0: a whole number from 1 on"),
        ("clusters", "dot_product", {"clusters": 14}, "clusters = 14 are more than the sequence's 13 tokens"),
        (
            "clusters",
            "dot_product",
            {"clusters": 4, "scales": 2},
            "clusters = 16 are more than the sequence's 13 tokens",
        ),
        ("clusters", "dot_product", {"ratio": 3, "scales": 2}, "ratio = 3: 4 / 3 clusters a token are more clusters"),
        ("clusters", "dot_product", {"scales": 3}, "scales = 3: one or two"),
        ("clusters", "symmetric", {"scales": 2}, "it needs projection = 'separate'"),
        ("convolution", "random", {}, "kernels from queries, and random has none"),
    ],
)
def test_wrong_settings_are_one_line(kind, mechanism, mixing, message):
    with pytest.raises(ValueError, match=message) as error:
        check_mixer(kind, mixing, mechanism, {}, Shape(D, H, LONGEST))
    assert "\n" not in str(error.value)


def test_a_width_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="share a width of 9 evenly; choose one that 2 divides"):
        check_mixer("convolution", {}, "dot_product", {}, Shape(9, 3, LONGEST))


def clustered(x, count, real=None, neighbours=3):
    """Clusters by the formula of `density_peaks`, one token at a time: the set of each centre."""
    real = range(len(x)) if real is None else real
    squares = {(i, j): float((x[i] - x[j]).square().sum()) / x.shape[1] for i in real for j in real}
    density = {i: math.exp(-statistics.mean(sorted(squares[i, j] for j in real)[:neighbours])) for i in real}
    far = {i: [squares[i, j] ** 0.5 for j in real if density[j] > density[i]] for i in real}
    worth = {i: density[i] * (min(far[i]) if far[i] else max(squares.values()) ** 0.5) for i in real}
    centres = sorted(real, key=lambda i: -worth[i])[:count]
    joined = {i: i if i in centres else min(centres, key=lambda c: squares[i, c]) for i in real}
    return [{i for i in real if joined[i] == centre} for centre in centres]


@pytest.mark.parametrize("mask", ["none", "whole", "padding"])
def test_clusters_equal_the_formula(mask):
    x = inputs(8)
    tokens = padding(0, 5, 6)[:, 0, 0] if mask == "padding" else torch.ones(B, L, dtype=torch.bool)
    found = members(density_peaks(x, None if mask == "none" else tokens, 3), 4, torch.tensor([4, 2]))
    for b, count in enumerate((4, 2)):
        sets = [set(row.nonzero()[:, 0].tolist()) for row in found[b]]
        assert sets[:count] == clustered(x[b], count, tokens[b].nonzero()[:, 0].tolist())
        assert not found[b, count:].any(), "clusters that an example has not are empty"


def test_planted_clusters_are_found_and_order_is_no_matter():
    generator = torch.Generator().manual_seed(3)
    middles = 4 * torch.randn(6, D, generator=generator)
    labels = torch.arange(48) % 6
    x = middles[labels] + 0.1 * torch.randn(48, D, generator=generator)
    for order in (torch.arange(48), torch.randperm(48, generator=generator)):
        found = members(density_peaks(x[order][None], neighbours=5), 6, torch.tensor([6]))[0]
        assert found.sum(0).eq(1).all()
        assert sorted(labels[order][row].unique().tolist() for row in found) == [[label] for label in range(6)]


def test_equal_tokens_and_few_neighbours_are_no_trouble():
    """Of equals the first is the denser: one centre, and clusters that are left over hold one token each."""
    found = members(density_peaks(torch.ones(1, 7, D), neighbours=20), 3, torch.tensor([3]))[0]
    assert found.sum(-1).tolist() == [5, 1, 1] and found.sum(0).eq(1).all()
    assert members(density_peaks(torch.ones(1, 1, D)), 1, torch.tensor([1])).all()


def test_an_export_ranks_as_a_stable_sort_does(monkeypatch):
    values = torch.tensor([[2.0, 3.0, 2.0, -math.inf, 3.0, -math.inf], [1.0, 1.0, 1.0, 0.0, 2.0, 2.0]])
    expected = [[2, 0, 3, 4, 1, 5], [2, 3, 4, 5, 0, 1]]
    assert _ranks(values).tolist() == expected
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert _ranks(values).tolist() == expected


@pytest.mark.parametrize("mixing", [{"ratio": 1}, {"clusters": L}])
@pytest.mark.parametrize("mechanism", ["dot_product", "symmetric", "pairwise", "shared"])
def test_every_token_its_own_centre_is_dense_attention(mechanism, mixing):
    """Whatever the scores: a mean of one token is that token."""
    module, dense = layer(("clusters", mechanism, mixing, {})), layer(("attention", mechanism, {}, {}))
    missing = dense.load_state_dict(module.state_dict(), strict=False)
    assert missing.missing_keys == [] and missing.unexpected_keys == ["score.weight"]
    for mask in (None, padding(0, 9, 10)):
        expected, weights = dense(inputs(2), mask=mask, return_weights=True)
        found, shared_out = module(inputs(2), mask=mask, return_weights=True)
        real = slice(None) if mask is None else mask[:, 0, 0]
        assert_close(found[real], expected[real], rtol=1e-9, atol=1e-11)
        assert_close(shared_out, weights, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("row", CLUSTERS, ids=row_id)
def test_a_cluster_is_the_weighted_mean_of_its_tokens(row):
    """By loops, from the clusters and the mechanism's own projection and scores."""
    module, x = layer(row), inputs(2)
    expected = torch.zeros(B, module.shape.num_heads, L, module.shape.head_size, dtype=x.dtype)
    peaks = density_peaks(x, neighbours=module.neighbours)
    query = None
    for most in module.counts(L):
        belongs = members(peaks, most, torch.full((B,), most))
        means = torch.zeros(B, most, D, dtype=x.dtype)
        for b in range(B):
            for c in range(most):
                weights = {j: (module.score.weight[0] @ x[b, j]).exp() for j in belongs[b, c].nonzero()[:, 0].tolist()}
                means[b, c] = sum(w * x[b, j] for j, w in weights.items()) / sum(weights.values())
        heads = module.projection(x, means)
        if query is not None:
            key, value = (module.projection.split(part(means)) for part in (module.fine_key, module.fine_value))
            heads = Heads(value, query, module.projection.key_norm(key))
        query = heads.query
        scores = module.compatibility(heads, x, means, Positions.counted(L, most, x.device)).dense()
        expected = expected + scores.softmax(-1) @ heads.value
    assert_close(module(x), module.output(expected.transpose(1, 2).flatten(-2)), rtol=1e-9, atol=1e-11)


def test_clusters_are_the_same_again_in_training_too():
    module, x = layer(("clusters", "dot_product", {}, {})), inputs(2)
    with torch.no_grad():
        assert torch.equal(module.train()(x), module.eval()(x))


def test_more_clusters_than_a_sequence_has_tokens():
    module = layer(("clusters", "dot_product", {"clusters": 6}, {}))
    with pytest.raises(ValueError, match="clusters = 6 are more than the sequence's 5 tokens: ask for fewer"):
        module(inputs(2, 5))
    with pytest.raises(ValueError, match="rotary positions cannot rotate them, take learned ones"):
        module(inputs(2), positions=Positions.counted(L, L, torch.device("cpu"), Rotary(6)))


def test_options_have_defaults():
    assert mixer_options("clusters") == {"ratio": 4, "clusters": None, "neighbours": 5, "scales": 1}
    assert mixer_options("attention") == {}
    assert mixer_options("convolution") == {"head_ratio": 2, "kernel": 9, "mask_conv": True}

"""What autograd keeps of one more sequence, against the closed forms, for every path on a CPU."""

import pytest
import torch

from leanformer.attention import PROJECTIONS, MultiHeadAttention, mechanism, names
from leanformer.attention.dropout import LEVELS
from leanformer.attention.shape import Shape
from leanformer.models.memory import attention_bytes, mixer_bytes

HEADS, SIZE, LENGTH = 5, 14, 43
E = HEADS * SIZE
D = 41
SHAPE = Shape(D, HEADS, LENGTH, head_size=SIZE)

PLAIN = {
    "dot_product": D + 4 * E,
    "symmetric": D + 4 * E,
    "pairwise": D + 5 * E,
    "shared": D + 5 * E,
    "dense": D + 5 * E,
}
FUSED = {"dot_product": D + 5 * E, "symmetric": D + 4 * E, "pairwise": D + 6 * E, "shared": D + 5 * E}
SHARED_ROWS = {"random": D + 2 * E, "fixed_random": D + E}


def coefficients(name):
    return 4 * E * SIZE if name == "pairwise" else 0


@pytest.mark.parametrize("name", PLAIN)
def test_dropout_keeps_the_weights_twice_and_a_mask(name):
    expected = 4 * LENGTH * PLAIN[name] + 9 * HEADS * LENGTH**2 + coefficients(name)
    assert abs(attention_bytes(name, SHAPE, LENGTH, 0.1) - expected) < LEVELS  # masks are drawn in rows of so many


def test_without_dropout_plain_keeps_the_weights_once():
    assert attention_bytes("dense", SHAPE, LENGTH) == 4 * LENGTH * PLAIN["dense"] + 4 * HEADS * LENGTH**2


@pytest.mark.parametrize("name", FUSED)
def test_a_fused_kernel_keeps_no_weights(name):
    assert attention_bytes(name, SHAPE, LENGTH) == 4 * LENGTH * (FUSED[name] + HEADS) + coefficients(name)


@pytest.mark.parametrize("name", SHARED_ROWS)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_table_is_kept_once_for_a_whole_batch(name, dropout):
    assert attention_bytes(name, SHAPE, LENGTH, dropout) == 4 * LENGTH * SHARED_ROWS[name]


MIXTURES = ["random+dense", "random+dot_product", "dense+dot_product", "random+symmetric", "random+pairwise"]
MIXTURES += [
    "random+shared",
    "random+phased",
    "fixed_random+dot_product",
    "fixed_random+pairwise",
    "random+fixed_random",
]
MIXTURES += ["factorized_random+random", "random+dense+dot_product", "factorized_dense+symmetric", "fixed_random+dense"]
CLOSED = [
    *((name, {}) for name in (*PLAIN, *SHARED_ROWS, "factorized_random", "multi_query", "phased", "factorized_dense")),
    *((name, {}) for name in MIXTURES),
    ("factorized_dense", {"a": 8, "b": 9}),
    ("factorized_dense", {"biases": False}),
    ("dense", {"second_layer": "shared"}),
    ("phased", {"gains": False}),
    ("phased", {"projection": "shared_key_value"}),
    ("dot_product+pairwise", {"projection": "shared_query_key"}),
]


def plain(name, options):
    """Whether attention on a CPU computes weights plainly without dropout, read off the path that it took."""
    layer = MultiHeadAttention(name, D, HEADS, LENGTH, head_size=SIZE, **options)
    layer(torch.zeros(2, LENGTH, D))
    return layer.path == "plain"


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("name", "options"), CLOSED, ids=str)
def test_the_closed_form_of_the_classes_is_what_is_measured(name, options, dropout):
    for shape, length in ((SHAPE, LENGTH), (Shape(D, HEADS, 61, head_size=SIZE), 37)):
        numbers = mechanism(name).kept_numbers(shape, length, dropout, **options)
        weights = 0 if not mechanism(name).compatibility.uses_input else 9 if dropout else 4 * plain(name, options)
        expected = 4 * numbers + weights * HEADS * length**2
        found = attention_bytes(name, shape, length, dropout, **options)
        assert abs(found - expected) < (LEVELS if dropout else 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("phased", {"projection": "separate"}),
        ("random+phased", {"projection": "shared_all"}),
        ("dense+dot_product", {"tie_query": True}),
        ("random+dot_product", {"weights": "softmax"}),
    ],
)
def test_where_no_closed_form_is_known_there_is_none(name, options):
    assert mechanism(name).kept_numbers(SHAPE, LENGTH, **options) is None


@pytest.mark.parametrize("projection", [name for name in PROJECTIONS if name != "value_only"])
@pytest.mark.parametrize("name", ["dot_product", "pairwise"])
def test_the_closed_form_adds_up_for_every_projection(name, projection):
    shape = Shape(E, HEADS, LENGTH) if projection == "identity_query" else SHAPE  # whose heads are the input
    numbers = mechanism(name).kept_numbers(shape, LENGTH, projection=projection)
    assert attention_bytes(name, shape, LENGTH, projection=projection) == 4 * numbers


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("projection", ["separate", "shared_key_value"])
@pytest.mark.parametrize("name", ["dot_product", "pairwise"])
def test_a_kernel_keeps_the_keys_of_groups_and_no_copies(name, projection, dropout, kv_heads):
    shape, options = Shape(D, 6, LENGTH, head_size=SIZE), {"projection": projection, "kv_heads": kv_heads}
    numbers = mechanism(name).kept_numbers(shape, LENGTH, dropout, **options)
    expected = 4 * numbers + (9 * 6 * LENGTH**2 if dropout else 0)
    assert abs(attention_bytes(name, shape, LENGTH, dropout, **options) - expected) < (LEVELS if dropout else 1)
    if name == "dot_product" and not dropout:  # x, the scaled query, keys and values, context with its row sums
        kept = kv_heads * SIZE * (2 if projection == "separate" else 1)
        assert numbers == LENGTH * (D + 2 * 6 * SIZE + kept + 6)


@pytest.mark.parametrize("name", names())
def test_every_mechanism_is_measured_and_the_generator_left_alone(name):
    before = torch.get_rng_state()
    assert attention_bytes(name, SHAPE, LENGTH, 0.1) >= 4 * LENGTH * (D + E)
    torch.testing.assert_close(torch.get_rng_state(), before)


FLOORS = {
    "fourier": ({}, 0),  # a transform keeps nothing
    "linear": ({}, 2 * D),  # x, and what W_n made of it
    # x; what gelu reads and what it makes; the norm's output, the gate, and what is gated
    "gmlp": ({"inner_size": 2 * E}, D + 2 * E + 2 * E + 3 * E),
}


@pytest.mark.parametrize("kind", FLOORS)
def test_mixers_without_heads_keep_no_scores(kind):
    """A norm also keeps a mean and a deviation of every token."""
    mixing, numbers = FLOORS[kind]
    found = mixer_bytes(kind, mixing, "dot_product", {}, SHAPE, LENGTH)
    assert found == 4 * LENGTH * (numbers + (2 if kind == "gmlp" else 0))


def test_shaped_attention_keeps_two_values_more_than_it_saves_maps():
    """At the least the fused kernel's own; I and C add no matrix of L x L."""
    found = mixer_bytes("shaped", {"value_map": True, "output_map": True}, "dot_product", {}, SHAPE, LENGTH)
    plain = attention_bytes("dot_product", SHAPE, LENGTH)
    assert plain < found < plain + 4 * LENGTH * 4 * E

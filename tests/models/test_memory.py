"""What autograd keeps of one more sequence, against the closed forms, for every path on a CPU."""

import pytest
import torch

from leanformer.attention import PROJECTIONS, mechanism, names
from leanformer.attention.dropout import LEVELS
from leanformer.attention.shape import Shape
from leanformer.models.memory import attention_bytes

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


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", [*PLAIN, *SHARED_ROWS, "factorized_random", "multi_query"])
def test_the_closed_form_of_the_classes_is_what_is_measured(name, dropout):
    numbers = mechanism(name).kept_numbers(SHAPE, LENGTH, dropout)
    weights = 0 if name in (*SHARED_ROWS, "factorized_random") else 9 if dropout else 4 * (name == "dense")
    expected = 4 * numbers + weights * HEADS * LENGTH**2
    assert abs(attention_bytes(name, SHAPE, LENGTH, dropout) - expected) < (LEVELS if dropout else 1)


@pytest.mark.parametrize("projection", [name for name in PROJECTIONS if name != "value_only"])
@pytest.mark.parametrize("name", ["dot_product", "pairwise"])
def test_the_closed_form_adds_up_for_every_projection(name, projection):
    numbers = mechanism(name).kept_numbers(SHAPE, LENGTH, projection=projection)
    assert attention_bytes(name, SHAPE, LENGTH, projection=projection) == 4 * numbers


@pytest.mark.parametrize("name", names())
def test_every_mechanism_is_measured_and_the_generator_left_alone(name):
    before = torch.get_rng_state()
    assert attention_bytes(name, SHAPE, LENGTH, 0.1) >= 4 * LENGTH * (D + E)
    torch.testing.assert_close(torch.get_rng_state(), before)

"""Which parameters an optimizer gets, and its updates against formulas in float64 and torch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from leanformer import LeanformerConfig, LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.optimizers.muon import RMS, Muon, orthogonal
from leanformer.training.optimizers.parameter_groups import make_optimizer, require_groups
from leanformer.training.optimizers.stable_adamw import StableAdamW


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.table = nn.Embedding(7, 3)
        self.coefficients = nn.Parameter(torch.ones(2, 3, 3))
        self.query_scale = nn.Parameter(torch.ones(5))
        self.frozen = nn.Parameter(torch.ones(5, 5), requires_grad=False)


def small_model(attention: str, **options: Any) -> LeanformerForMaskedLM:
    sizes = {"hidden_size": 14, "num_hidden_layers": 1, "num_attention_heads": 7, "intermediate_size": 29}
    config = LeanformerConfig(attention=attention, vocab_size=23, max_position_embeddings=13, **sizes, **options)
    return LeanformerForMaskedLM(config)


def groups_of(model: nn.Module, **training: Any) -> list[tuple[dict[str, Any], set[str]]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = make_optimizer(model, TrainingSettings.of(training)).param_groups
    assert sorted(names[p] for group in groups for p in group["params"]) == sorted(
        name for name, parameter in model.named_parameters() if parameter.requires_grad
    )
    return [(group, {names[p] for p in group["params"]}) for group in groups]


@pytest.mark.parametrize(("optimizer", "kind"), [("adamw", torch.optim.AdamW), ("stable_adamw", StableAdamW)])
def test_matrices_decay_and_vectors_do_not(optimizer: str, kind: type[torch.optim.Optimizer]) -> None:
    model = Parts()
    training = {"optimizer": optimizer, "weight_decay": 0.07, "beta1": 0.8, "beta2": 0.98, "epsilon": 1e-7}
    assert type(make_optimizer(model, TrainingSettings.of(training))) is kind
    (decaying, matrices), (constant, vectors) = groups_of(model, **training)
    assert matrices == {"linear.weight", "table.weight", "coefficients"}
    assert vectors == {"linear.bias", "norm.weight", "norm.bias", "query_scale"}
    assert (decaying["weight_decay"], constant["weight_decay"]) == (0.07, 0)
    for group in (decaying, constant):
        assert (group["betas"], group["eps"], group["factor"]) == ((0.8, 0.98), 1e-7, 1.0)
        assert group.get("fused", True)


@pytest.mark.parametrize("tied", [True, False])
def test_muon_gets_the_hidden_matrices_and_adamw_the_rest(tied: bool) -> None:
    model = small_model("pairwise", tie_word_embeddings=tied)
    assert {group["factor"] for group, _ in groups_of(model, optimizer="adamw", lr_multipliers={"muon": 4.0})} == {1.0}
    how = {"optimizer": "muon", "weight_decay": 0.07, "lr_multipliers": {"muon": 4.0, "tied_projections": 0.5}}
    groups = groups_of(model, **how)
    muon = [(group, names) for group, names in groups if "momentum" in group]
    block = "encoder.layers.0."
    assert {group["factor"]: {name.removeprefix(block) for name in names} for group, names in muon} == {
        2.0: {"attention.projection.token.weight"},
        4.0: {
            "attention.projection.value.weight",
            "attention.output.weight",
            "feed_forward.up.weight",
            "feed_forward.down.weight",
            "head.transform.weight",
        },
    }
    assert all(group["weight_decay"] == 0.07 for group, _ in muon)
    others = set().union(*(names for group, names in groups if "betas" in group))
    assert {"encoder.embeddings.word_embeddings.weight", f"{block}attention.compatibility.coefficients"} <= others
    assert ("head.decoder.weight" in others) is not tied


SHARED = {"projection.shared.weight", "projection.shared.bias"}


@pytest.mark.parametrize("optimizer", ["adamw", "stable_adamw", "muon"])
@pytest.mark.parametrize(
    ("attention", "projection", "slow", "fast"),
    [
        ("random", None, set(), {"compatibility.table"}),
        ("factorized_random", None, set(), {"compatibility.left", "compatibility.right"}),
        ("random+dot_product", None, set(), {"compatibility.random.table"}),
        ("symmetric", None, {"projection.token.weight", "projection.token.bias"}, set()),
        ("shared", None, SHARED, set()),
        ("dot_product", "shared_key_value", {"projection.key_value.weight", "projection.key_value.bias"}, set()),
        ("dot_product", "shared_query_value", {"projection.query_value.weight", "projection.query_value.bias"}, set()),
        (
            "random+shared",
            None,
            SHARED,
            {"compatibility.random.table"},
        ),
        ("dot_product", None, set(), set()),
        ("dense", None, set(), set()),
        ("fixed_random", None, set(), set()),
    ],
)
def test_tables_and_tied_maps_have_rates_of_their_own(
    attention: str, projection: str | None, slow: set[str], fast: set[str], optimizer: str
) -> None:
    model = small_model(attention, attention_options={"projection": projection} if projection else {})
    factors: dict[float, set[str]] = {}
    rates = {"position_tables": 30.0, "tied_projections": 0.5}
    for group, names in groups_of(model, optimizer=optimizer, lr_multipliers=rates):
        factors.setdefault(group["factor"], set()).update(name.partition(".attention.")[2] or name for name in names)
    assert factors.pop(1.0)
    assert (factors.get(0.5, set()), factors.get(30.0, set())) == (slow, fast)


def test_phases_have_a_rate_of_their_own_and_do_not_decay() -> None:
    model = small_model("phased", positions="rotary")
    own = {f"encoder.layers.0.attention.compatibility.{name}" for name in ("phases", "gains")}
    (group,) = (
        group for group, names in groups_of(model, lr_multipliers={"phases": 3.0}, weight_decay=0.07) if names == own
    )
    assert (group["factor"], group["weight_decay"]) == (3.0, 0.0)
    (group,) = (group for group, names in groups_of(model) if names == own)
    assert group["factor"] == 30.0, "the group's own multiple, if the settings name none"


def test_an_unknown_group_is_refused_with_the_nearest_name_and_this_models_groups() -> None:
    config = small_model("phased", positions="rotary").config
    require_groups(TrainingSettings.of({"lr_multipliers": {"phases": 3.0, "position_tables": 100.0}}), config)
    with pytest.raises(ValueError) as error:
        require_groups(TrainingSettings.of({"lr_multipliers": {"phase": 3.0}}), config)
    assert str(error.value) == (
        "unknown group training.lr_multipliers.phase: did you mean 'phases'? "
        "(this model's groups: tied_projections, phases, muon)"
    )


def with_singular_values(values: list[float], rows: int, columns: int, seed: int = 0) -> Tensor:
    """(rows, columns), float64."""
    torch.manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, len(values), dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(columns, len(values), dtype=torch.float64)).Q
    return left * torch.tensor(values, dtype=torch.float64) @ right.T


def by_polynomial(matrix: Tensor) -> Tensor:
    """S p(p(...(s))) T' of the matrix S s T', s divided by their norm; the singular values one by one."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (5, 11), (13, 3)])
def test_orthogonal_is_the_polynomial_of_the_singular_values(rows: int, columns: int) -> None:
    matrices = torch.stack([with_singular_values([3.0, 0.7, 0.2], rows, columns, seed) for seed in range(2)])
    expected = torch.stack([by_polynomial(matrix) for matrix in matrices])
    assert_close(orthogonal(matrices), expected)
    assert_close(orthogonal(17.0 * matrices[0]), expected[0])  # whatever the gradient's length
    assert_close(orthogonal(matrices.view(1, 2, rows, columns)), expected.view(1, 2, rows, columns))


def test_orthogonal_has_singular_values_near_one_and_spares_zero() -> None:
    matrix = with_singular_values([1.0, 0.5, 0.1, 0.05, 0.02], 5, 11)
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6 and values.max() < 1.3
    alignment = (orthogonal(matrix) * matrix).sum() / torch.linalg.svdvals(matrix).sum()  # 1 for S T' itself
    assert 0.6 < alignment < 1.3
    assert_close(orthogonal(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5), rtol=0, atol=0)


def train(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int, seed: int = 0) -> None:
    """On gradients drawn in float64, the same for every dtype."""
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            generator = torch.Generator().manual_seed(1000 * seed + 10 * step + number)
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()


def copies(*tensors: Tensor) -> list[nn.Parameter]:
    return [nn.Parameter(tensor.clone()) for tensor in tensors]


def values(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach() for parameter in parameters]


def test_muon_is_torchs_with_the_factor_that_matches_adam() -> None:
    start = [with_singular_values([1.0] * 3, *size).float() for size in ((7, 7), (5, 11), (13, 3), (7, 7))]
    ours, torchs = copies(*start), copies(*start)
    train(Muon(ours, lr=0.02, weight_decay=0.3), ours, steps=5)
    train(torch.optim.Muon(torchs, lr=0.02, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"), torchs, steps=5)
    for mine, other, begin in zip(values(ours), values(torchs), start, strict=True):
        moved = float((other - begin).norm())
        assert float((mine - other).norm()) < 0.01 * moved  # bfloat16 in another order


def test_a_stack_of_matrices_moves_as_each_of_them_would() -> None:
    stack, gradient = torch.randn(3, 5, 7), torch.randn(3, 5, 7)
    (whole,), parts = copies(stack), copies(*stack)
    whole.grad = gradient
    for part, own in zip(parts, gradient, strict=True):
        part.grad = own
    Muon([whole], lr=0.1).step()
    Muon(parts, lr=0.1).step()
    assert_close(whole.detach(), torch.stack([part.detach() for part in parts]), rtol=0, atol=0)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (128, 32), (32, 128)])
def test_an_update_of_muon_is_as_long_as_one_of_adam(rows: int, columns: int) -> None:
    """Both take 0.2 to 0.4 of the learning rate in root mean square on gradients that are noise."""

    def moved(optimizer: Callable[..., torch.optim.Optimizer], **options: Any) -> float:
        (parameter,) = copies(torch.zeros(rows, columns))
        updater = optimizer([parameter], lr=1.0, weight_decay=0.0, **options)
        train(updater, [parameter], steps=20)
        before = parameter.detach().clone()
        train(updater, [parameter], steps=1, seed=1)
        return float((parameter.detach() - before).square().mean().sqrt())

    assert 0.7 * RMS < moved(Muon) < 1.1 * RMS
    assert 0.15 < moved(torch.optim.AdamW, betas=(0.9, 0.95)) < 0.45


def test_muon_goes_downhill_in_every_direction_at_once() -> None:
    """|W - T|^2 weighted 1 : 100 along two directions: the gradient hardly sees the first, Muon approaches both."""
    target, weights = torch.eye(2, dtype=torch.float64), torch.tensor([[0.01], [1.0]], dtype=torch.float64)
    (parameter,) = copies(torch.zeros(2, 2, dtype=torch.float64))
    optimizer = Muon([parameter], lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        (weights * (parameter - target).square()).sum().backward()
        optimizer.step()
    assert_close(parameter.detach().diagonal(), torch.full((2,), 0.39, dtype=torch.float64), rtol=0.05, atol=0)


def test_muon_refuses_vectors() -> None:
    with pytest.raises(ValueError, match=r"^Muon takes matrices, not a parameter of shape \(5,\)$"):
        Muon([nn.Parameter(torch.ones(5))], lr=0.1)


def stable_reference(start: Tensor, gradients: list[Tensor], lr: float, decay: float) -> tuple[Tensor, list[float]]:
    """By AdamW's usual moments and their corrections, float64; and R of every step."""
    (beta1, beta2), epsilon = (0.8, 0.95), 1e-4
    w, m, v, clips = start.clone(), torch.zeros_like(start), torch.zeros_like(start), []
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        mean, square = m / (1 - beta1**t), v / (1 - beta2**t)
        clips.append(float((g**2 / torch.maximum(square, torch.tensor(epsilon**2))).mean() ** 0.5))
        rate = lr / max(1.0, clips[-1])
        w = w - rate * decay * w - rate * mean / (square.sqrt() + epsilon)
    return w, clips


@pytest.mark.parametrize("surprise", [0.1, 1.0, 50.0])
def test_stable_adamw_is_its_formula(surprise: float) -> None:
    torch.manual_seed(3)
    start = torch.randn(5, 7, dtype=torch.float64)
    gradients = [torch.randn(5, 7, dtype=torch.float64) * (surprise if step == 6 else 1.0) for step in range(9)]
    expected, clips = stable_reference(start, gradients, lr=0.03, decay=0.4)
    (parameter,) = copies(start)
    optimizer = StableAdamW([parameter], lr=0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.4)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    assert_close(parameter.detach(), expected)
    assert (max(clips) > 2) is (surprise == 50.0)


def test_stable_adamw_is_adamw_while_gradients_do_not_grow() -> None:
    ours, torchs = (copies(torch.ones(5, 7, dtype=torch.float64)) for _ in range(2))
    how: dict[str, Any] = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.4}
    optimizers = [StableAdamW(ours, **how), torch.optim.AdamW(torchs, **how)]
    for step in range(9):
        for parameter in (*ours, *torchs):
            parameter.grad = torch.full((5, 7), 0.9**step, dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.step()
    assert_close(ours, torchs)


@pytest.mark.parametrize("optimizer", ["adamw", "stable_adamw", "muon"])
def test_state_goes_on_where_it_was_saved(optimizer: str) -> None:
    settings = TrainingSettings.of({"optimizer": optimizer, "learning_rate": 0.01})

    def learner() -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
        torch.manual_seed(5)
        model = Parts()
        return [p for p in model.parameters() if p.requires_grad], make_optimizer(model, settings)

    whole, through = learner()
    train(through, whole, steps=3)
    train(through, whole, steps=3, seed=1)
    first, before = learner()
    train(before, first, steps=3)
    second, after = learner()
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        for parameter, value in zip(second, first, strict=True):
            parameter.copy_(value)
    for group in after.param_groups:
        group["lr"] *= 1.0  # the groups that one sees are those that it steps with
    train(after, second, steps=3, seed=1)
    assert_close(second, whole, rtol=0, atol=0)
    for group in after.param_groups:
        group["lr"] = 0.0
    train(after, second, steps=1)
    assert_close(second, whole, rtol=0, atol=0)

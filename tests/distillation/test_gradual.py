"""From one attention to another, layer by layer: the ends are exact, and so is what lies between."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from leanformer.distillation.gradual import blended, require_alike, share
from leanformer.distillation.watch import attention_layers
from leanformer.models import LeanformerForMaskedLM

STUDENTS = ["symmetric", "random", "shared"]
MIXERS = [{"mixer": "fourier"}, {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8}}, {"mixer": "shaped"}]


@pytest.fixture
def pair(request: pytest.FixtureRequest, model: Any) -> tuple[LeanformerForMaskedLM, LeanformerForMaskedLM]:
    """A teacher, and a student with the weights of all but its attention."""
    teacher, student = model().eval(), model(request.param, 2).eval()
    rest = {name: value for name, value in teacher.state_dict().items() if ".attention." not in name}
    student.load_state_dict(rest, strict=False)
    return teacher.requires_grad_(False), student


@pytest.mark.parametrize("pair", STUDENTS, indirect=True)
@pytest.mark.parametrize("tensor", [False, True])
def test_it_begins_as_the_teacher_and_ends_as_the_student(
    pair: tuple[Any, Any], batch: dict[str, Tensor], tensor: bool
) -> None:
    teacher, student = pair
    before, after = teacher(**batch).logits, student(**batch).logits
    for a, expected in ((0.0, before), (1.0, after)):
        with blended(student, teacher, torch.tensor(a) if tensor else a):
            assert_close(student(**batch).logits, expected, rtol=0, atol=0)
    assert_close(student(**batch).logits, after, rtol=0, atol=0)
    assert not any(layer._forward_hooks for layer in attention_layers(student))


@pytest.mark.parametrize("settings", MIXERS)
def test_the_path_may_lead_from_attention_to_another_mixer(
    settings: dict[str, Any], model: Any, batch: dict[str, Tensor]
) -> None:
    teacher, student = model().eval(), model(seed=2, **settings).eval()
    rest = {name: value for name, value in teacher.state_dict().items() if ".attention." not in name}
    student.load_state_dict(rest, strict=False)
    require_alike(teacher.config, student.config)
    for a, expected in ((0.0, teacher(**batch).logits), (1.0, student(**batch).logits)):
        with blended(student, teacher, a):
            real = batch["attention_mask"].bool()
            assert_close(student(**batch).logits[real], expected[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pair", STUDENTS, indirect=True)
def test_a_context_between_is_the_weighted_mean(pair: tuple[Any, Any]) -> None:
    teacher, student = pair
    old, new = (attention_layers(one)[1] for one in pair)
    x = torch.randn(2, 7, 30)
    expected = 0.7 * old(x) + 0.3 * new(x)
    with blended(student, teacher, 0.3):
        assert_close(new(x), expected)


@pytest.mark.parametrize("pair", STUDENTS, indirect=True)
def test_the_student_alone_learns(pair: tuple[Any, Any], batch: dict[str, Tensor]) -> None:
    teacher, student = pair
    with blended(student, teacher, 0.3):
        student(**batch).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    words = student.get_input_embeddings().weight.grad
    assert words is not None and words.any()


def test_the_share_rises_linearly_and_stays() -> None:
    assert [share(spent, 0.5) for spent in (0.0, 0.25, 0.5, 0.9)] == [0.0, 0.5, 1.0, 1.0]
    assert share(0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_hidden_layers": 3},
            "^distillation.anneal .* its num_hidden_layers is 2, the student's 3; leave",
        ),
        ({"hidden_size": 42}, "its hidden_size is 30, the student's 42"),
        ({"positions": "rotary"}, "its positions is 'learned', the student's 'rotary'"),
        ({"block": "mixing_only"}, "its block is 'sequential', the student's 'mixing_only'"),
    ],
)
def test_an_attention_that_does_not_fit_is_refused(settings: dict[str, Any], message: str, model: Any) -> None:
    with pytest.raises(ValueError, match=message):
        require_alike(model().config, model(**settings).config)


def test_rotary_heads_of_another_size_are_refused(model: Any) -> None:
    teacher, student = (model(positions="rotary", num_attention_heads=heads).config for heads in (3, 5))
    with pytest.raises(ValueError, match="the teacher's are of 10, the student's of 6; leave it out"):
        require_alike(teacher, student)


@pytest.mark.parametrize("sharing", ["all", "blocks:2", "cycle:2", "attention", "feed_forward"])
def test_layers_that_share_are_mixed_wherever_they_are_used(sharing: str, model: Any, batch: dict[str, Tensor]) -> None:
    """One attention that several layers use is mixed in each of them: the ends are exact, and the teacher is frozen."""
    teacher = model(num_hidden_layers=3, layer_sharing=sharing).eval().requires_grad_(False)
    student = model("symmetric", 2, num_hidden_layers=3, layer_sharing=sharing).eval()
    rest = {name: value for name, value in teacher.state_dict().items() if ".attention." not in name}
    student.load_state_dict(rest, strict=False)
    require_alike(teacher.config, student.config)
    before, after = teacher(**batch).logits, student(**batch).logits
    with blended(student, teacher, 0.0):
        assert_close(student(**batch).logits, before, rtol=0, atol=0)
    with blended(student, teacher, 1.0):
        assert_close(student(**batch).logits, after, rtol=0, atol=0)
    with blended(student, teacher, 0.4):
        student(**batch).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    other = model(num_hidden_layers=3)
    with pytest.raises(ValueError, match=f"its layer_sharing is '{sharing}', the student's 'none'"):
        require_alike(teacher.config, other.config)

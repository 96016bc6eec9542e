"""The file of `leanformer new mechanism`, and what `leanformer check` says of it and of mistakes."""

import pytest

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def written(tmp_path, command):
    file = tmp_path / "plugins" / "my_idea.py"
    assert command("new", "mechanism", "my_idea", "--out", file)[0] == 0
    return file


def test_the_new_file_keeps_every_promise(written, command):
    status, said, _ = command("check", written)
    assert status == 0 and said.endswith("every promise holds\n")
    assert "BROKEN" not in said and "  ok  counts are exact\n" in said
    text = written.read_text()
    assert "NAME" not in text and 'Mechanism("my_idea", MyIdeaProjection, MyIdea, ' in text


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("return self.temperature[h, 0, 0]", "return 2 * self.temperature[h, 0, 0]", "values and gradients equal"),
        ("return shape.num_heads\n", "return 7\n", "counts are exact: num_params says"),
        (
            "return 2 * shape.inner_size * length",
            "return 3 * shape.inner_size * length",
            "counts are exact: flops says",
        ),
        ("positions.rotate(query, heads.key)", "(query, heads.key)", "rotation turns query and key: rotary positions"),
        ("heads.query * (", "heads.nothing * (", "fused equals plain: AttributeError: 'Heads' object has no attribute"),
    ],
)
def test_a_mistake_is_named(written, command, right, wrong, said):
    text = written.read_text()
    assert text.count(right) == 1
    written.write_text(text.replace(right, wrong))
    status, out, _ = command("check", written, "--attention", "my_idea[start=2.0]")
    assert status == 1 and out.startswith("my_idea[start=2.0]\n") and f"  BROKEN  {said}" in out
    assert out.splitlines()[-1].endswith(" broken")


def test_a_template_is_not_written_over_a_file_or_a_name(written, command):
    status, _, said = command("new", "mechanism", "my_idea", "--out", written)
    assert status == 2 and "my_idea.py exists already" in said
    for name, words in (("shared", "registered already"), ("My Idea", "lower-case letters")):
        status, _, said = command("new", "mechanism", name)
        assert status == 2 and words in said


def test_only_mechanisms_are_checked(written, command, tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert "registers no mechanism" in command("check", empty)[2]
    mixer = tmp_path / "averages.py"
    mixer.write_text(MIXER)
    status, said, _ = command("check", mixer)
    assert status == 1 and "averages\n" in said and "BROKEN  a padded text gets what it gets alone" in said
    assert "ok  values and gradients equal the formula" in said
    asked = "my_idea[model.hidden_size=64]"
    assert "only the mechanism's own options" in command("check", written, "--attention", asked)[2]


MIXER = """
import torch
from leanformer.attention import TokenMixer, register_mixer


class Averages(TokenMixer):
    def mix(self, x, mask):
        return x.mean(1, keepdim=True).expand_as(x)

    def formula(self, x):
        return torch.stack([sum(x) / len(x)] * len(x))

    @classmethod
    def count_params(cls, mechanism, whole, options, **mixing):
        return 0

    @classmethod
    def count_flops(cls, mechanism, whole, options, length, memory=None, **mixing):
        return 0


register_mixer("averages", Averages)
"""

"""What the documentation shows works: the example mechanism, every config, every command's options, every table."""

import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from leanformer.attention import MIXERS, load_plugin, mixer
from leanformer.attention.mixer_testing import check_token_mixer
from leanformer.attention.testing import check_mechanism
from leanformer.comparison.catalogue import catalogue, mixer_catalogue
from leanformer.data import tasks
from leanformer.settings import DistillationSettings, FinetuningSettings, TrainingSettings
from leanformer.settings.table import Table

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_mechanism_keeps_the_contract(tmp_path, own_registry):
    page = (ROOT / "docs" / "add-a-mechanism.md").read_text()
    file = tmp_path / "bilinear.py"
    file.write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1))
    assert load_plugin(file) == ["bilinear"]
    check_mechanism("bilinear", rank=6)
    check_mechanism("bilinear", projection="separate")


def test_the_example_mixer_is_its_formula_and_its_counts(tmp_path, own_registry):
    page = (ROOT / "docs" / "mixers.md").read_text()
    file = tmp_path / "gated.py"
    file.write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1))
    assert load_plugin(file) == ["gated"]
    torch.manual_seed(1)
    gated, plain = (mixer(name)("dot_product", 22, 2, 13).double() for name in ("gated", "attention"))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate.")})
    x_BLD, contexts = torch.randn(3, 7, 22, dtype=torch.float64), []
    plain.output.register_forward_hook(lambda module, inputs, out: contexts.append(inputs[0]))
    plain(x_BLD)
    gate_BLE = torch.sigmoid(x_BLD @ gated.gate.weight.T + gated.gate.bias)
    assert_close(gated(x_BLD), (gate_BLE * contexts[0]) @ gated.output.weight.T + gated.output.bias)
    assert gated.num_params() == sum(parameter.numel() for parameter in gated.parameters())
    gated.fused = False  # the counter does not know a CPU's fused kernel
    with FlopCounterMode(display=False) as counter:
        gated(x_BLD[:1])
    assert gated.flops(7) == counter.get_total_flops()


def test_the_example_without_heads_keeps_the_contract(tmp_path, own_registry):
    page = (ROOT / "docs" / "mixers.md").read_text()
    file = tmp_path / "averages.py"
    file.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1])
    assert load_plugin(file) == ["averages"]
    check_token_mixer("averages")


def test_the_table_of_mixers_is_what_the_command_prints():
    page = (ROOT / "docs" / "mixers.md").read_text()
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    for row in mixer_catalogue(**sizes, vocab_size=30522, max_position_embeddings=512):
        line = next(line for line in page.splitlines() if line.startswith(f"| `{row['mixer']}` | {row['paper']}"))
        assert f"{row['parameters']:,}" in line
    assert all(f"| `{name}`" in page for name in MIXERS)


TABLES = [TrainingSettings(), DistillationSettings(), FinetuningSettings()]
TABLES += [getattr(TABLES[-1], name) for name in ("absgd", "regsl", "sparse")]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title())
def test_every_setting_is_documented_with_its_default(table):
    page = (ROOT / "docs" / "settings.md").read_text()
    section = page.partition(f"## `[{table.title()}]`")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.MULTILINE))
    own = {k: v for k, v in asdict(table).items() if not isinstance(getattr(table, k), Table)}
    assert documented == {k: repr(v).replace("'", '"') for k, v in own.items()}


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_is_documented_with_its_columns_and_splits(name):
    page = (ROOT / "docs" / "data.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
    _, _, columns, _, splits, _ = (cell.strip() for cell in line.split("|"))
    assert set(tasks.task(name).columns) <= set(re.findall(r"\w+", columns))
    assert tuple(splits.split(", ")) == tasks.task(name).validation


def commands():
    """Every `leanformer verb ...` in a code block or indented line of the documentation."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^(?: {4}|leanformer |\.venv/bin/)?\s*((?:\S*/)?leanformer \S.*)$", text, re.MULTILINE):
            yield pytest.param(line.partition("#")[0], id=f"{page.stem}: {line[:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_documented_commands_exist(line):
    """The verb is one, and so are the options."""
    import typer.main

    import leanformer_cli

    verbs = typer.main.get_command(leanformer_cli.app).commands
    verb, *rest = shlex.split(line.partition("leanformer ")[2].replace("[", " ").replace("]", " ").replace("|", " "))
    command = verbs[verb]
    if hasattr(command, "commands"):  # leanformer bench mechanisms
        verb, *rest = rest
        command = command.commands[verb]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_table_of_mechanisms_is_what_the_command_prints():
    page = (ROOT / "docs" / "mechanisms.md").read_text()
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    for row in catalogue(**sizes, vocab_size=30522, max_position_embeddings=512):
        line = next(line for line in page.splitlines() if line.startswith(f"| `{row['name']}` | {row['paper']}"))
        for key in ("qkv_parameters_per_layer", "parameters"):
            assert f"{row[key]:,}" in line
        assert f"{row['forward_flops_per_token'] / 1e6:.1f}" in line

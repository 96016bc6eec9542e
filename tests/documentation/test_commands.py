"""Every `leanformer ...` of README and docs/*.md runs, with tiny data and small budgets (`inputs.py`, `shrinking.py`).

The commands of a section run in order, in a directory of their own: what one makes, the next ones read. Whatever else
they name is made for them. A command that makes what is there already begins anew, unless it says that it goes on.
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from leanformer.attention.plugins import forgotten
from tests.documentation.inputs import Inputs
from tests.documentation.pages import ROOT, Command, commands, file_of, sections
from tests.documentation.shrinking import smaller
from tests.experiments.in_process import InProcess

NOT_RUN = {
    ("reproduce.md", "prepare hf:oscar-corpus"): "reads the hub",
    ("reproduce.md", "reproduce symmetric --scale paper"): "reads the hub, and takes hundreds of GPU hours",
}
"""Page and beginning of the commands that no test runs, with the reason."""
GOES_ON = {"--resume", "--autoresume", "--extend", "--dry-run"}


def reason(command: Command) -> str | None:
    """Why the command is not run."""
    for (page, beginning), why in NOT_RUN.items():
        if page == command.page and command.line.startswith(f"leanformer {beginning}"):
            return why
    return None


def test_every_exception_stands_on_its_page():
    for (page, beginning), why in NOT_RUN.items():
        assert any(each.page == page and each.line.startswith(f"leanformer {beginning}") for each in commands()), why


@pytest.mark.parametrize("command", commands(), ids=lambda each: f"{each.page}: {each.line[:60]}")
def test_verbs_and_options_exist(command: Command):
    """This holds for a synopsis, too."""
    import typer.main

    import leanformer_cli

    plain = command.line.partition("leanformer ")[2]
    verb, *rest = plain.replace("[", " ").replace("]", " ").replace("|", " ").split()
    known = typer.main.get_command(leanformer_cli.app).commands[verb]
    if hasattr(known, "commands"):  # leanformer bench mechanisms
        verb, *rest = rest
        known = known.commands[verb]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.fixture(scope="session")
def inputs(text: str, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), text, carry_out)


@pytest.fixture(autouse=True)
def in_this_process() -> Iterator[None]:
    """A comparison's runs take no process of their own, which would import PyTorch; plug-ins are unknown afterwards."""
    with pytest.MonkeyPatch.context() as patch, forgotten():
        patch.setattr("leanformer.study.execution.LocalProcesses", InProcess())
        yield


def carry_out(arguments: Sequence[str], directory: Path, stdin: bytes = b"") -> None:
    """Runs `leanformer ARGUMENTS` in the directory; raises AssertionError unless its status is 0."""
    import leanformer_cli

    heard = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "argv", ["leanformer", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stderr", heard)
        try:
            leanformer_cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    assert status == 0, f"leanformer {' '.join(arguments)}\nends with {status}: {heard.getvalue()[-2000:]}"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # no command fails for a warning
@pytest.mark.parametrize(
    "section",
    [found for found in sections() if not all(each.synopsis or reason(each) for each in found)],
    ids=lambda found: f"{found[0].page}: {found[0].section}",
)
def test_the_commands_of_a_section_run_in_order(
    section: list[Command], inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for folder in ("configs", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for command in section:
        if command.synopsis or reason(command):
            continue
        written, before, file = command.split()
        arguments = smaller(written)
        prepare_directory(command, [*arguments, *before.split()], tmp_path, inputs)
        stdin = (
            subprocess.run(before, shell=True, cwd=tmp_path, check=True, capture_output=True).stdout if before else b""
        )
        capsys.readouterr()
        carry_out(arguments, tmp_path, stdin)
        if file:
            (tmp_path / file).write_text(capsys.readouterr().out, encoding="utf-8")


def prepare_directory(command: Command, words: Sequence[str], directory: Path, inputs: Inputs) -> None:
    """Removes what the command makes anew, and puts there what it reads."""
    made = output(words)
    if made and not GOES_ON & set(words):
        path = directory / made
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for word in [*words[1:], *re.findall(r"(?<=[\w])=([^,\]\s]+)", " ".join(words))]:  # and files after NAME=
        name = word.partition("/tokenizer")[0]
        if (directory / name).exists() or (name == made and not {"--extend"} & set(words)):
            continue
        if inputs.knows(name):
            inputs.place(name, directory)
        elif source := file_of(command.page, name):
            (directory / name).write_text(source, encoding="utf-8")


def output(words: Sequence[str]) -> str | None:
    """Returns the name of what the command makes."""
    if "--out" in words:
        return words[words.index("--out") + 1]
    return words[2] if words[0] in ("convert", "export") else f"{words[2]}.py" if words[0] == "new" else None

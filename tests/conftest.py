"""What several folders of tests share: the command line run in this process, and a small prepared corpus."""

import lzma
import sys
from importlib import resources

import pytest

TINY = [
    "model.hidden_size=16",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.intermediate_size=32",
    "model.max_position_embeddings=32",
    "model.positions=rotary",
    "training.max_steps=4",
    "training.batch_size=4",
    "training.sequence_length=32",
    "training.validate_every=2",
    "training.validation_sequences=8",
    "training.log_every=1",
    "training.threads=1",
]
"""Settings of a run that takes a second."""


@pytest.fixture(scope="session")
def text() -> str:
    """The first 60,000 characters of the novels that ship with the package."""
    path = resources.files("leanformer.data") / "texts" / "novels.txt.xz"
    with path.open("rb") as packed, lzma.open(packed, "rt", encoding="utf-8") as file:
        return file.read(60_000)


@pytest.fixture(scope="session")
def data(text, tmp_path_factory):
    """A data directory of characters, prepared once."""
    from leanformer.data.prepare import prepare

    folder = tmp_path_factory.mktemp("corpus")
    source = folder / "novels.txt"
    source.write_text(text, encoding="utf-8")
    prepare([str(source)], folder / "data", algorithm="characters", vocab_size=100, quiet=True)
    return folder / "data"


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `leanformer ARGUMENTS` in this process: (exit status, stdout, stderr)."""
    import leanformer_cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["leanformer", *map(str, arguments)])
        capsys.readouterr()
        try:
            leanformer_cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return int(status), out, err

    return run


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The settings above as arguments."""
    return [argument for setting in TINY for argument in ("--set", setting)]

"""The command, whose verbs are in the other files of this package."""

import os
import sys
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from leanformer_cli.ending import Ended, listening

JOBS = {
    "Data": ("prepare", "verify"),
    "Training": ("recipes", "pretrain", "finetune", "distill"),
    "Comparing": ("compare", "status", "report", "robustness", "reproduce", "link"),
    "Models": ("convert", "export", "embed", "predict", "evaluate", "attention"),
    "Measuring": ("mechanisms", "check", "new", "bench"),
}
"""The verbs as `leanformer --help` lists them."""
WIDEST = 45
"""The most characters of a verb's line of help, its first sentence."""


class ByJob(TyperGroup):
    """A group that lists its commands by job; a test checks that every command has a job, since others are left out."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for job, names in JOBS.items():
            with formatter.section(job):
                width = max(map(len, self.commands))
                formatter.write_dl(
                    [(f"{name:{width}}", self.commands[name].get_short_help_str(WIDEST)) for name in names]
                )


app = typer.Typer(
    name="leanformer",
    cls=ByJob,
    help="Train BERT-like language models with parameter-saving attention, and measure the cost of each saving.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="An error prints one line to stderr and exits with status 2; add --debug to any command for its traceback.",
)


def main() -> None:
    """The console script: runs a verb, and reports an error in one line with exit status 2."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        with listening():
            app()
    except BrokenPipeError:
        if debug:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, ArithmeticError) as error:
        if debug:
            raise
        _fail(error)
    except Ended as end:
        with suppress(OSError):  # the terminal is closed
            print(f"leanformer: stopped by {end.signal}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        if debug:
            raise
        sys.exit(130)


def _fail(error: Exception) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        remedy = (
            "free some space, then repeat the command" if error.errno == 28 else "check the path and its permissions"
        )
        text = f"{error.filename or 'writing'}: {error.strerror.lower()}: {remedy}"
    print(f"leanformer: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("leanformer"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None: ...

"""The command itself: its verbs are in the files beside this one."""

import os
import sys
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from leanformer_cli.ending import Ended, listening

JOBS = {
    "Data": ("prepare", "verify"),
    "Training": ("pretrain", "finetune", "distill"),
    "Comparing": ("compare", "report", "robustness", "reproduce", "link"),
    "Models": ("convert", "export", "embed", "predict", "evaluate", "attention"),
    "Measuring": ("mechanisms", "bench"),
}
"""The verbs as `leanformer --help` lists them."""
WIDEST = 45
"""Characters of a verb's line of help, at most: its first sentence."""


class ByJob(TyperGroup):
    """Lists the commands under the job they do; a command of no job would be left out, so a test compares the names."""

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
    help="Train BERT-like language models with parameter-saving attention, and say what each saving costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="A mistake ends with one line on stderr and status 2; add --debug to any command to see where it arose.",
)


def main() -> None:
    """The console script: run a verb, and turn a mistake into one line and status 2."""
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

"""Bars that show how far work is: on a terminal, in a file or a pipe, and in a notebook.

In a notebook the bars are one output of the cell, which every update replaces. So a saved notebook holds their last
state and no control characters, and no widgets are needed.
"""

import sys
import time
from io import StringIO
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn

EVERY = 0.25
"""The seconds between two updates in a notebook."""
WIDTH = 100
"""The characters of a line in a notebook."""


def console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Returns a console that prints whole lines as they are; in a notebook, too, they are plain text."""
    return Console(quiet=quiet, stderr=stderr, highlight=False, markup=False, soft_wrap=True, force_jupyter=False)


def is_live(on: Console) -> bool:
    """Whether bars can move where this console prints."""
    return on.is_terminal or notebook() is not None


def bars(*columns: ProgressColumn, on: Console, quiet: bool = False, **options: Any) -> Progress:
    """Returns the bars for a console; they are a context, inside which they are shown."""
    kind = Progress if notebook() is None else NotebookBars
    return kind(*columns, console=on, disable=quiet, **options)


def notebook() -> Any:
    """Returns IPython's display module in a notebook, else None; it is loaded there, and need not be installed."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return None if getattr(shell, "kernel", None) is None else sys.modules.get("IPython.display")


class NotebookBars(Progress):
    """The bars of rich as one output of a cell."""

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, **options, auto_refresh=False)
        self._output: Any = None
        self._updated = 0.0

    def start(self) -> None:
        module = notebook()
        if not self.disable and module is not None:
            self._output = module.display(self._bundle(), raw=True, display_id=True)

    def stop(self) -> None:
        self.refresh()
        self._output = None

    def refresh(self) -> None:
        if self._output is not None:
            self._updated = time.monotonic()
            self._output.update(self._bundle(), raw=True)

    def update(self, *arguments: Any, **changes: Any) -> None:
        super().update(*arguments, **changes)
        self._refresh_now_and_then()

    def advance(self, *arguments: Any, **changes: Any) -> None:
        super().advance(*arguments, **changes)
        self._refresh_now_and_then()

    def _refresh_now_and_then(self) -> None:
        if time.monotonic() - self._updated > EVERY:
            self.refresh()

    def _bundle(self) -> dict[str, str]:
        text = StringIO()
        Console(file=text, width=WIDTH, force_jupyter=False, force_terminal=False).print(self.get_renderable())
        return {"text/plain": "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())}

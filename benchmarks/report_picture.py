"""The picture in the README: the top of the quickstart's report, as Chromium shows it in its light scheme.

    make quickstart
    python -m benchmarks.report_picture runs/quickstart/comparison/report.html docs/images/report.png

All colours are kept, since a picture of 64 colours can show two mechanisms in the same colour.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1280, 1360
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"


def paint(page: Path, picture: Path) -> None:
    """Write the picture of a page; raises a one-line OSError if there is no browser, or if it writes no picture."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        raise OSError(f"none of {', '.join(NAMES)} is installed: install Chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS.split(), f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        made = Path(profile) / picture.name
        subprocess.run([*command, f"--screenshot={made}", page.resolve().as_uri()], capture_output=True, timeout=300)
        if not made.is_file():
            raise OSError(f"{browser} made no picture of {page}")
        shutil.copyfile(made, picture)


if __name__ == "__main__":
    paint(Path(sys.argv[1]), Path(sys.argv[2]))

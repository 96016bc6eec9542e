"""What the site needs besides docs/: the pages at the root of the repository, links that lead somewhere in both, and
search in pages that are opened from the file system.

A browser lets a page of the file system neither fetch the index nor start a worker from a file. The theme then loads
search/search_index.js, which must define `__index`; search/worker.js holds the worker's code as text, and starts it
from there.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")


def on_files(files, config):
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links are those of the repository: to a page they become the site's, to other files (configs, code) text."""
    own = page.file.src_uri
    source = next((name for name, made in PAGES.items() if made == own), f"docs/{own}")

    def rewritten(link):
        mark, text, target, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(found) is None:
            return text
        return f"{mark}[{text}]({posixpath.relpath(found, posixpath.dirname(own) or '.')}{anchor or ''})"

    return LINK.sub(rewritten, markdown)


INSERTED = (
    """<script>location.protocol === "file:" && """
    """document.write('<script src="{base}search/worker.js"><\\/script>')</script>"""
)
THEME = re.compile(r'<script src="[^"]*bundle\.')
WORKER = """{{
  const source = {source}, native = Worker
  window.Worker = class extends native {{
    constructor() {{ super(URL.createObjectURL(new Blob([source], {{type: "text/javascript"}}))) }}
  }}
}}
"""


def on_post_page(output, page, config):
    """Load search/worker.js before the theme's own script, in pages of the file system alone."""
    base = posixpath.relpath(".", posixpath.dirname(page.url) or ".") + "/"
    return THEME.sub(lambda found: INSERTED.format(base=base) + found[0], output, count=1)


def on_post_build(config):
    site = Path(config.site_dir)
    (source,) = (site / "assets/javascripts/workers").glob("search.*.min.js")
    index = (site / "search/search_index.json").read_text(encoding="utf-8")
    (site / "search/search_index.js").write_text(f"var __index = {index}\n", encoding="utf-8")
    code = json.dumps(source.read_text(encoding="utf-8"))
    (site / "search/worker.js").write_text(WORKER.format(source=code), encoding="utf-8")

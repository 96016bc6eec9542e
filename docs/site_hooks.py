"""What the site needs besides docs/: the pages at the root of the repository, and links that lead somewhere in both."""

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

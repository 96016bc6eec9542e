"""A new plug-in file: a mechanism with comments, complete, for its author to change."""

from importlib import resources
from pathlib import Path

from leanformer.attention.plugins import require_free, require_name
from leanformer.attention.registry import names


def write_mechanism(name: str, path: Path) -> None:
    """Write the file. ValueError for a name that is taken or no name; FileExistsError if the file is there."""
    require_name("mechanism", name)
    require_free("mechanism", name, dict.fromkeys(names()))
    if not name.isidentifier():
        raise ValueError(f"mechanism {name!r}: write letters, digits and _, so that the file can be imported")
    text = (resources.files("leanformer.attention") / "template.txt").read_text(encoding="utf-8")
    classes = "".join(part.capitalize() for part in name.split("_"))
    text = text.replace("NameProjection", f"{classes}Projection").replace("class Name(", f"class {classes}(")
    text = text.replace(", Name, ", f", {classes}, ").replace("NAME", name)
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name or --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)

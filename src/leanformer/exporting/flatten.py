"""The code of the models as files that need no leanformer: one flat folder, relative imports.

transformers copies remote code by following lines `from .x import y` between the files of one folder, and nothing else.
So the modules that the model classes reach are copied as they are, but for their names and for their imports of one
another:

    leanformer/attention/mechanisms/shared.py                  leanformer_attention_mechanisms_shared.py
    from leanformer.attention.registry import register         from .leanformer_attention_registry import register
    from leanformer.models import heads (a module)             from .leanformer_models_heads import __name__ as _
                                                               from . import leanformer_models_heads as heads

The folder's entrance is `leanformer.models`, called `modeling_leanformer`. Plug-ins come along, and are the last that
`leanformer.attention` imports: they may import from it.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ENTRANCE = "leanformer.models"
BLOCKS = "leanformer.models.blocks"
"""The module behind which plug-ins are imported, since they may use it and all that it imports."""
CARRIED = ("leanformer.attention", "leanformer.models", "leanformer.spelling", "leanformer.records.renamed")
"""Packages of ours whose modules may be copied."""
AT_HAND = {"torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy"}
"""What is installed wherever transformers is, with torch."""

ROOT = Path(__file__).parents[2]
LICENCE = Path(__file__).with_name("code_licence.txt")
AT_THE_END = """
for _name in __all__:  # save_pretrained copies the file that a class names as its own, and those that it reaches
    globals()[_name].__module__ = __name__
"""


def flatten(plugins: Iterable[Path] = ()) -> dict[str, str]:
    """File name -> text of every module that is reached from `ENTRANCE` and of the plug-ins.

    ValueError for a plug-in that imports what another machine may not have.
    """
    extra = {f"leanformer_plugin_{re.sub(r'[^0-9a-zA-Z_]', '_', path.stem)}": path for path in plugins}
    paths = {ENTRANCE: _path(ENTRANCE)} | extra
    todo, texts = list(paths), {}
    while todo:
        module = todo.pop()
        text, reached = _rewritten(paths[module])
        if module == ENTRANCE:
            text += AT_THE_END
        elif module == BLOCKS:
            text += "".join(f"{_for_its_effects(name)}\n" for name in extra)
        texts[f"{flat(module)}.py"] = _header(paths[module], module in extra) + text
        todo += reached - paths.keys()
        paths |= {name: _path(name) for name in reached}
    return dict(sorted(texts.items()))


def flat(module: str) -> str:
    return "modeling_leanformer" if module == ENTRANCE else module.replace(".", "_")


def _path(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _rewritten(path: Path) -> tuple[str, set[str]]:
    """The text with relative imports, and the modules of ours that it imports."""
    text = path.read_text(encoding="utf-8")
    tree, lines, reached = ast.parse(text), text.split("\n"), set()
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(imports, key=lambda node: -node.lineno):
        ours = [module for module, _ in _imported(node) if module.partition(".")[0] == "leanformer"]
        _require_carried(node, path)
        if ours:
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [indent + line for line in _relative(node, used, path)]
            reached |= set(ours)
    return "\n".join(lines), reached


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.alias]]:
    """The module that each name comes from, or is."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield alias.name, alias
        else:
            inner = f"{node.module}.{alias.name}"
            is_module = inner.startswith("leanformer.") and _path(inner).is_file()
            yield (inner if is_module else node.module or "", alias)


def _relative(node: ast.Import | ast.ImportFrom, used: set[str], path: Path) -> Iterator[str]:
    found = list(_imported(node))
    package = node.module if isinstance(node, ast.ImportFrom) else None
    names = [alias for module, alias in found if module == package]
    if package is not None and names:
        yield ast.unparse(ast.ImportFrom(flat(package), names, level=1))
    for module, alias in found:
        if alias in names:
            continue
        yield _for_its_effects(module)
        if (bound := alias.asname or alias.name) in used:
            yield f"from . import {flat(module)} as {bound}"
        elif "leanformer" in used:
            raise ValueError(f"{path}: line {node.lineno} uses modules by their full names: import their names instead")


def _for_its_effects(module: str) -> str:
    return f"from .{flat(module)} import __name__ as _"


def _require_carried(node: ast.Import | ast.ImportFrom, path: Path) -> None:
    if isinstance(node, ast.ImportFrom) and node.level:
        raise ValueError(f"{path}: line {node.lineno} imports relatively: a plug-in is one file, put all into it")
    for module, _ in _imported(node):
        root, carried = module.partition(".")[0], f"{module}.".startswith(tuple(f"{name}." for name in CARRIED))
        if not carried and root not in AT_HAND and root not in sys.stdlib_module_names:
            raise ValueError(
                f"{path}: line {node.lineno} imports {module}, which a machine without leanformer may not have: keep "
                "the mechanism in a file that needs torch, leanformer.attention and leanformer.models only"
            )


def _header(path: Path, plugin: bool) -> str:
    copied = "copied by `leanformer export`, its imports made relative"
    if plugin:
        return f"# The plug-in {path.name}, {copied}.\n\n"
    copyright = LICENCE.read_text(encoding="utf-8").splitlines()[2]
    origin = path.relative_to(ROOT).as_posix()
    return f"# {origin} of leanformer, {copied}.\n# {copyright}, MIT License: see LICENSE.leanformer.\n\n"

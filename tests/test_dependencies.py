"""What the source imports is declared, and every hint how to install it is in the one form that works."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from leanformer.install import how_to_install

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOLDERS = ("src", "docs", "examples", "benchmarks", "configs")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "constraints.txt", "Makefile")]
PAGES += [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in (".md", ".py", ".ipynb")]
UNINSTALLED = {"pynvml": "nvidia-ml-py", "submitit": "submitit", "ray": "ray"}
"""Imports whose distribution need not be there for the tests."""
FORMS = re.compile(
    r'-e \.(?=[\s`,]|$)|-e "\.\[([\w,-]+)\]"|torch(?= &&)|uv$|"dist/leanformer-[\d.]+-py3-none-any\.whl\[(\w+)\]"',
    re.MULTILINE,
)


def named(requirements: list[str]) -> set[str]:
    return {spelt(re.match(r"[\w.-]+", requirement).group()) for requirement in requirements}


def spelt(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: str) -> set[str]:
    """Distributions that the files of a folder import, at the top or in functions."""
    modules = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(str(node.module).partition(".")[0])
    known = packages_distributions()
    others = modules - set(sys.stdlib_module_names) - {"leanformer", "leanformer_cli"}
    return {spelt(UNINSTALLED[name] if name in UNINSTALLED else known[name][0]) for name in others}


def test_what_is_imported_is_declared_and_no_more():
    extras = named([requirement for name in EXTRAS if name not in ("docs", "test") for requirement in EXTRAS[name]])
    needed, declared = imported("src"), named(PROJECT["dependencies"])
    assert declared == needed - extras, "pyproject.toml"
    assert needed <= declared | extras


def test_the_tests_have_every_extra():
    """So nothing is skipped where it could run; `energy` needs a GPU, `slurm` and `ray` a cluster, `cloud` a bucket."""
    for name in set(EXTRAS) - {"docs", "test", "energy", "slurm", "ray", "cloud"}:
        assert set(EXTRAS[name]) <= set(EXTRAS["test"]), name


def test_the_constraints_hold_what_is_declared():
    held = {spelt(name) for name in re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)}
    everything = named(PROJECT["dependencies"] + [requirement for extra in EXTRAS.values() for requirement in extra])
    assert {name.partition("[")[0] for name in everything} - held == {"nvidia-ml-py"}


def test_every_hint_how_to_install_is_one_that_works():
    """leanformer is no package of an index: its name alone would install whatever somebody else registers under it."""
    hints = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace('\\"', '"')
        assert not re.search(r"[\"' ]leanformer\[", text), f"{page.relative_to(ROOT)} has an extra of a package by name"
        for hint in re.finditer(
            r"pip install (?:--quiet --disable-pip-version-check )?(?:-c constraints\.txt )?", text
        ):
            form = FORMS.match(text, hint.end())
            if page.name == "install.py":
                continue
            assert form, f"{page.relative_to(ROOT)}: pip install {text[hint.end() : hint.end() + 40]!r}"
            extras = form.group(1) or form.group(2)
            assert set(extras.split(",") if extras else ()) <= set(EXTRAS), f"{page.relative_to(ROOT)}: {extras}"
            hints += 1
    assert hints > 10


def test_error_messages_take_their_hint_from_one_function():
    for file in (ROOT / "src").rglob("*.py"):
        if file.name != "install.py":
            text = file.read_text(encoding="utf-8")
            assert "pip install" not in text, f"{file.relative_to(ROOT)} does not call how_to_install"
            assert set(re.findall(r"how_to_install\([\"'](\S+?)[\"']", text)) <= set(EXTRAS)


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_page_has_every_extra_and_the_hint_s_form(extra):
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"`{extra}`" in page
    assert how_to_install("export").partition(" in ")[0] in page
    assert FORMS.match(how_to_install(extra).removeprefix("pip install ")).group(1) == extra

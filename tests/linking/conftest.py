import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ontology():
    """The module `ontology.py` beside this file."""
    spec = importlib.util.spec_from_file_location("ontology", Path(__file__).with_name("ontology.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made(ontology, tmp_path_factory) -> Path:
    """A folder of mentions, the dictionary in the one above."""
    return ontology.write(tmp_path_factory.mktemp("ontology"))

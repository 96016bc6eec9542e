"""The tiny pre-trained model and the tasks of tests/evaluation."""

from tests.evaluation.conftest import glue, make_model, quick, run

__all__ = ["glue", "make_model", "quick", "run"]

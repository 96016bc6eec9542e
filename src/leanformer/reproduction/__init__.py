"""Published tables rebuilt: what a paper says, what is measured here at a scale that fits the machine, and a verdict.

papers/NAME/published.toml      the paper's own figures, with their source (`published.py`)
papers/NAME/SCALE/STUDY.toml    a study at a scale: settings, mechanisms, seeds (`studies.py`)
"""

from leanformer.reproduction.published import PAPERS
from leanformer.reproduction.reproduce import reproduce
from leanformer.reproduction.studies import SCALES

__all__ = ["PAPERS", "SCALES", "reproduce"]

"""The style sheet of the pages."""

from importlib import resources


def test_every_rule_stands_once():
    """A block that is pasted twice, into the rules for paper too, overrides what it lands in."""
    text = (resources.files("leanformer.reporting.render") / "page.css").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if line.endswith("}") and "{" in line]
    assert len(rules) > 50 and len(rules) == len(set(rules))

"""Labelled texts as a model's inputs: single texts and pairs, multiple choice, and spans in long contexts."""

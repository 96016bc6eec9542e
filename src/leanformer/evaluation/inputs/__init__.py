"""The inputs of a model from labelled texts: single texts and pairs, multiple choice, and spans in long contexts."""

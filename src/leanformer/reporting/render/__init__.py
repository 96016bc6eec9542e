"""Renderers of a report's document as HTML, Markdown, LaTeX and tidy tables."""

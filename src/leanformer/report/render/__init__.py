"""The same document as HTML, Markdown, LaTeX and tidy tables."""

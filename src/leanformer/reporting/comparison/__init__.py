"""The report of a comparison: its contents, sentences and tables, and results.json."""

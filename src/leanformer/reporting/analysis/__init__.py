"""The analysis of one study's records: pairs, differences, ratios, tasks and suites."""

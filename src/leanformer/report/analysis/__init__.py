"""What the records of one study say: pairs, differences, ratios, tasks and suites."""

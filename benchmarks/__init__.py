"""The protocols behind the results, to be run from the root of the repository."""

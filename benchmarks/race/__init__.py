"""The race of the recipe `fast` against the strongest recipes that a user can install or configure."""

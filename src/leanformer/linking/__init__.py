"""Entity linking: a mention to the concept it means, by the nearest of the names in a dictionary."""

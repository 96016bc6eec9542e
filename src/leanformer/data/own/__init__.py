"""People's own labelled files as a task: what they hold, how they are read, and how one file is divided."""

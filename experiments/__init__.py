"""Studies of this project that are not commands: their plans, runs and pages."""

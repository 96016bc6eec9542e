"""The machine that a run trains on: hardware, energy, peak speed, timing, and the processes that share the run."""

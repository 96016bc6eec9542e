"""The machine on which a run trains: hardware, energy, peak speed, timing and the process group."""

"""The speed and the memory of training: what is compiled, kept or computed again, and how fast a run goes."""

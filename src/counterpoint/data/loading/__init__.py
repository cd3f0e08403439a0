"""From data to batches: the order of the examples, what is read ahead, what was computed before."""

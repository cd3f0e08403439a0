"""A step of training: precision, optimiser, microbatches, and what comes before it."""

"""Checkpoints, written and read, and a run's copy elsewhere."""

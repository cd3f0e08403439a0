"""Evaluation in tiles: what is reduced over which of them, and the gradients of it."""

"""Losses that tell pairs that belong together from pairs that do not."""

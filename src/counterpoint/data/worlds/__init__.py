"""Worlds that are made, not read: rows as a function of a preset, a seed and a row, with the truth about each."""

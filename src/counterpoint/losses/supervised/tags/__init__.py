"""Losses of tags, of which several may apply to an example: a sigmoid each, against the vectors of tags."""

"""Losses between sequences: states of times and of words."""

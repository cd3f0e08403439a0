"""The record of a run: its numbers, what it was made of, what was broken, what its losses contrast."""

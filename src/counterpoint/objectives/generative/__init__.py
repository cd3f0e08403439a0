"""Losses of models of the data itself."""

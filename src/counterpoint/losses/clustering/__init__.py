"""Losses over prototypes and their balanced assignments."""

"""Losses that belong to one method or claim, with inputs of their own; they have no name."""

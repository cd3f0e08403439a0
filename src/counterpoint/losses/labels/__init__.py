"""Losses with class labels, or with a bank of labels."""

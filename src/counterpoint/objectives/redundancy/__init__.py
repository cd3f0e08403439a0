"""Losses that decorrelate the features of a batch."""

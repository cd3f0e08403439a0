"""Softmax over the pairs of a batch."""

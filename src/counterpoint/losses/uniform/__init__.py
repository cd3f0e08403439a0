"""Alignment of positives, and uniformity of all."""

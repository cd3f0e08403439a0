"""Losses on the cross-correlation of features."""

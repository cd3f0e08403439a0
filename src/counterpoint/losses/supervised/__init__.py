"""Losses of class scores: of examples against the vectors of classes, or the keys of classes."""

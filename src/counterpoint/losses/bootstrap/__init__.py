"""Losses without negatives: one view predicts the other."""

"""Losses that predict a target without negatives."""

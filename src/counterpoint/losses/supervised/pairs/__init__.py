"""Losses of pairs: each example, or the vector of each class, with those of its class and with all others."""

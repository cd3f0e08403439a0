"""Benches: the small worlds and training set-ups that several claims share."""

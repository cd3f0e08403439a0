"""Losses with margins, and with captions that are wrong in one thing."""

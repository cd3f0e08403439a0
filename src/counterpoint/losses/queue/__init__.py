"""Losses against keys of a momentum encoder and a queue of earlier ones."""

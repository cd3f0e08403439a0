"""Kinds of data that a user may write after ``--data``."""

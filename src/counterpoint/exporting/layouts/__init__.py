"""Layouts that a model is exported to."""

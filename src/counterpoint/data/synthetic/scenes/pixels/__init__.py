"""Pixels: how scenes are drawn."""

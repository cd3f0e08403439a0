"""Worlds that are made, not read: rows as a function of a preset, a seed and a row, with the truth about each."""

from __future__ import annotations

from ...registry import Registry

WORLDS = Registry("data set", __name__, file="world")
"""Data sets that ship with the package, by what is written before the colon; each class has ``parse(source)``."""

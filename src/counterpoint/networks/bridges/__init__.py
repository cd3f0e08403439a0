"""Bridges: from a picture's patches to what a language model reads of it. A file each; the file's name is its name."""

from ...registry import Registry

BRIDGES = Registry("bridge", "counterpoint.networks.bridges", exclude=("base",))
"""Bridges by name."""

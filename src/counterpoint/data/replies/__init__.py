"""Makers of worse replies to requests about pictures, a file each; the file's name is what ``--by`` takes."""

from ...registry import Registry

MAKERS = Registry("maker of replies", __name__)
"""Makers by name."""

"""Sections of a report on data, a file each."""

from ....registry import Registry

SECTIONS = Registry("section of a report on data", __name__)
"""Parts of a report; each class has ``order``, ``title`` and ``findings(seen)``."""

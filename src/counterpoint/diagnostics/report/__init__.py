"""Every diagnostic of a trained model in a section of its own: a plot, a sentence, a table of numbers."""

from __future__ import annotations

from ...registry import lazy_exports

_EXPORTS = {"Section": "subject", "Subject": "subject", "diagnose": "sections"}
__all__ = ["Section", "Subject", "diagnose"]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)

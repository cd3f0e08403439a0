"""Diagnostics of a representation: spread, alignment, the gap between modalities, collapse."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Intervals and verdicts over seeds and examples: the Multi-Bootstrap, and what a comparison adds to it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""``motions``: people in motion, measured by several devices on one body, and sentences that say what they do."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

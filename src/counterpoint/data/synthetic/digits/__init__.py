"""``digits``: handwritten digits of 8 × 8 pixels, with sentences about them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""``sounds``: soundscapes with order and attributes, their spectrograms, and captions that are spoken."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Zero-shot classification by descriptions: what is said of classes beyond their names, and where it comes from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

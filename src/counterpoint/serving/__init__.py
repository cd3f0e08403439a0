"""Use of a model: vectors of a data set, an index of them, search, the application and its page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Models in the layouts of other libraries: written, read back by these, and compared before they are there."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

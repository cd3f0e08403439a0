"""Studies: methods × seeds on the same examples, and what can be said of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

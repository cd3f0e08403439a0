"""Units of work that are never done twice: carried out in leased folders, told of by one listener, stopped one way."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

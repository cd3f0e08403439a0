"""Studies of decoding: methods × seeds × tasks on one trained model, each beside plain sampling and its own rule."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

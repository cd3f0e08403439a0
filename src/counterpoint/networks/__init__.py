"""Networks: towers, tokenizers, heads, momentum copies, how their weights start and which of them move."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""``glosses``: WordNet's nouns with what they mean, and pairs of meanings with how alike they are, as texts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

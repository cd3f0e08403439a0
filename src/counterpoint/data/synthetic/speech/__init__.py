"""``speech``: captions of scenes spoken by several voices, with the exact times of words and phonemes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

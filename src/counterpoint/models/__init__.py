"""Models by what a user calls them: a run, or a model of open_clip, timm, transformers, sentence-transformers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

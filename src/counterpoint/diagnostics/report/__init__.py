"""Every diagnostic of a trained model in a section of its own: a plot, a sentence, a table of numbers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

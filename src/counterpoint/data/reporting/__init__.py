"""Reports on data: what is there, what is wrong with it, and the commands that fit it; a file for each section."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Videos for embedders of pictures: a video is the mean of its frames, or one picture made of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

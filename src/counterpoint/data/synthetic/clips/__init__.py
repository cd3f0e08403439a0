"""``clips``: short videos composed of emoji, with captions, twins that break them, and sensor streams."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

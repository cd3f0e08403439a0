"""counterpoint: which pre-training method really helps on your paired data."""

import lazy_loader

from .networks.towers import when_timm  # noqa: F401 # timm then knows the models that exported folders name

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""``emoji``: real pictures by two teams of artists, with names in many languages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

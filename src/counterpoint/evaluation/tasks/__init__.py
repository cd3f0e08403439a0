"""Tasks, a file each: the file is the registration, and the task is named after it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

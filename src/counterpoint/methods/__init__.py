"""Methods: how one batch becomes losses. A file each; ``create`` builds one by name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

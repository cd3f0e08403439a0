"""Effects of examples in context on the flaws of a model that answers: five axes, and three ways to show examples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

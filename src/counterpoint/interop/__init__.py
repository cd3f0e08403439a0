"""Other libraries, a file for each: its towers, the loading of its models, and the layout that models are exported to.

A class whose name ends in ``Loader`` is a kind of model that `counterpoint.load` reads, and one whose name ends in
``Layout`` is a layout of `counterpoint.export`. ``scripts/make_stubs.py`` registers both.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

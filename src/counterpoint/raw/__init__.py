"""Raw forms: what data gives and models take, checked before anything is computed from it.

Where examples are sequences, one that ends before the longest of them goes on as NaN; so does what was never measured.
Frames are bytes, which know no NaN: clips say how many each has. A picture is a row of a tensor, a text a string.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Claims of papers: one file a paper, the experiment that tests it at a size that two cores can carry.

>>> from counterpoint_reproductions import CLAIMS
>>> "siglip" in CLAIMS
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

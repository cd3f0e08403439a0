"""The only place that forms a similarity matrix: tiles, reductions, and exact gradients without the memory.

A loss declares, for a tile of the similarity matrix, what is to be reduced per row, per column or in
total (`PairwiseLoss.reduce`); the evaluators `dense`, `tiled` and `distributed` compute the same
declaration.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

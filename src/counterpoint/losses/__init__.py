"""Losses on bare embeddings, a file each.

>>> import torch
>>> from counterpoint import losses
>>> loss = losses.create("siglip")
>>> loss(torch.eye(4), torch.eye(4)).item() < 1
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

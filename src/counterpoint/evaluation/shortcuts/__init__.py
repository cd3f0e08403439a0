"""Shortcuts: what is learned instead of what was meant, how well it holds under shift, and what it leaves out.

Tasks read shortcuts off an embedder's answers on scenes whose options tie an easy thing to a hard one; `latent` and
`subclasses` are the linear worlds in which two papers explain where they come from.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

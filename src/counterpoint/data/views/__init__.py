"""Views: what is done to a picture or a caption before an encoder sees it, decided per example by a counter.

A view's random choices are a function of ``(seed, epoch, example id, view name)`` and of nothing else: not
of the batch an example is in, its place there, or the process that prepares it.

    view = views.image("strong")
    pictures = view.apply(uint8_pictures, views.key(seed, epoch, ids, "image.1"), size=48)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

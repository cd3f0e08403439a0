"""Views: what is done to a picture or a caption before an encoder sees it, decided per example by a counter.

A view's random choices are a function of ``(seed, epoch, example id, view name)`` and of nothing else: not
of the batch an example is in, its place there, or the process that prepares it.

    view = views.image("strong")
    pictures = view.apply(uint8_pictures, views.key(seed, epoch, ids, "image.1"), size=48)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .captions import TextView, text
    from .checks import check
    from .drawing import sheet
    from .keys import key, uniform
    from .pictures import ImageView, image

__all__ = ["ImageView", "TextView", "check", "image", "key", "sheet", "text", "uniform"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ImageView": "pictures",
        "TextView": "captions",
        "check": "checks",
        "image": "pictures",
        "key": "keys",
        "sheet": "drawing",
        "text": "captions",
        "uniform": "keys",
    },
)

"""Tasks on videos, for embedders of pictures: a video is the mean of its frames, or one picture made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .embedding import embed_videos

__all__ = ["embed_videos"]
__getattr__, __dir__ = lazy_exports(__name__, {"embed_videos": "embedding"})

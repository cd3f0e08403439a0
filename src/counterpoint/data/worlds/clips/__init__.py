"""``clips``: short videos composed of emoji, with captions, twins that break them, and sensor streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....registry import lazy_exports

if TYPE_CHECKING:
    from .captions import caption
    from .clip import Clip, Event, film, save
    from .contrasts import CONTRASTS, contrast
    from .dials import ClipDials
    from .hallucinations import HALLUCINATIONS, hallucinate
    from .narrations import NARRATIONS, narrate
    from .presets import PRESETS
    from .sensors import acceleration
    from .world import Clips

__all__ = [
    "CONTRASTS",
    "HALLUCINATIONS",
    "NARRATIONS",
    "PRESETS",
    "Clip",
    "ClipDials",
    "Clips",
    "Event",
    "acceleration",
    "caption",
    "contrast",
    "film",
    "hallucinate",
    "narrate",
    "save",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CONTRASTS": "contrasts",
        "Clip": "clip",
        "ClipDials": "dials",
        "Clips": "world",
        "Event": "clip",
        "HALLUCINATIONS": "hallucinations",
        "NARRATIONS": "narrations",
        "PRESETS": "world",
        "acceleration": "sensors",
        "caption": "captions",
        "contrast": "contrasts",
        "film": "clip",
        "hallucinate": "hallucinations",
        "narrate": "narrations",
        "save": "clip",
    },
)

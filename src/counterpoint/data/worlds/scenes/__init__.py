"""``scenes``: pictures composed of emoji, of which everything is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....registry import lazy_exports

if TYPE_CHECKING:
    from .dials import Dials
    from .pixels.render import Drawing, draw
    from .presets import PRESETS, Preset
    from .scene import Relation, Scene, Thing
    from .world import Scenes

__all__ = ["PRESETS", "Dials", "Drawing", "Preset", "Relation", "Scene", "Scenes", "Thing", "draw"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Dials": "dials",
        "Drawing": "render",
        "PRESETS": "presets",
        "Preset": "presets",
        "Relation": "scene",
        "Scene": "scene",
        "Scenes": "world",
        "Thing": "scene",
        "captions": "",
        "draw": "render",
    },
)

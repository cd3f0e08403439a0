"""Names of what this room offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from .method import Decoding

DECODING = Registry(
    "decoding method",
    {
        "code": "counterpoint.decoding.self_description:DescriptionContrastive",
        "lcd": "counterpoint.decoding.lcd:LanguageContrastive",
        "lqcd": "counterpoint.decoding.lqcd:LeadingQueryContrastive",
        "mvcd": "counterpoint.decoding.mvcd:ExampleContrastive",
        "plain": "counterpoint.decoding.plain:Plain",
        "ritual": "counterpoint.decoding.ritual:Ritual",
        "vcd": "counterpoint.decoding.vcd:VisualContrastive",
        "vdd": "counterpoint.decoding.vdd:VisualDebias",
        "vdgd": "counterpoint.decoding.vdgd:DescriptionGrounded",
    },
)


def create(name: str, **options: Any) -> Decoding:
    """Return the decoding method of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("vcd", alpha=0.5).beta
    0.1
    """
    return DECODING.create(name, **options)

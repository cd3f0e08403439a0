"""Decoding for vision-language models of transformers: one more argument of ``generate``.

``model.generate(**inputs, custom_generate=VisualContrastive(alpha=1.0, beta=0.1).on(inputs), max_new_tokens=64)``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from .assistant import VisionLanguageAssistant
    from .calibration import answer_probabilities, debiased, first_logits
    from .description import Description, describe
    from .generate import Bound, Cost
    from .lcd import LanguageContrastive
    from .lqcd import LeadingQueryContrastive
    from .method import Contrastive, Decoding
    from .mvcd import ExampleContrastive
    from .plain import Plain
    from .prompts import read_picture
    from .ritual import Ritual
    from .rule import rule_alone
    from .self_description import DescriptionContrastive
    from .vcd import VisualContrastive
    from .vdd import VisualDebias
    from .vdgd import DescriptionGrounded

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
    """The decoding method of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("vcd", alpha=0.5).beta
    0.1
    """
    method: Decoding = DECODING.create(name, **options)
    return method


_EXPORTS = {
    "Bound": "generate",
    "Contrastive": "method",
    "Cost": "generate",
    "Decoding": "method",
    "Description": "description",
    "DescriptionContrastive": "self_description",
    "DescriptionGrounded": "vdgd",
    "ExampleContrastive": "mvcd",
    "LanguageContrastive": "lcd",
    "LeadingQueryContrastive": "lqcd",
    "Plain": "plain",
    "Ritual": "ritual",
    "VisionLanguageAssistant": "assistant",
    "VisualContrastive": "vcd",
    "VisualDebias": "vdd",
    "answer_probabilities": "calibration",
    "debiased": "calibration",
    "describe": "description",
    "first_logits": "calibration",
    "read_picture": "prompts",
    "rule_alone": "rule",
}
__all__ = [
    "DECODING",
    "Bound",
    "Contrastive",
    "Cost",
    "Decoding",
    "Description",
    "DescriptionContrastive",
    "DescriptionGrounded",
    "ExampleContrastive",
    "LanguageContrastive",
    "LeadingQueryContrastive",
    "Plain",
    "Ritual",
    "VisionLanguageAssistant",
    "VisualContrastive",
    "VisualDebias",
    "answer_probabilities",
    "create",
    "debiased",
    "describe",
    "first_logits",
    "read_picture",
    "rule_alone",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)

"""The frame of the pages of studies and diagnoses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import torch
from jaxtyping import Float
from torch import Tensor

from ...diagnostics.plots import svg
from ...diagnostics.report import DiagnosticCard, DiagnosticSection
from ...pages.page import environment, fill
from ...pages.things import data_uri
from ...reasons import counted
from . import words

_TEMPLATES = Path(__file__).parent / "templates"
_HOT, _OPAQUE = (209, 52, 21), 190
"""The colour of maps over pictures, and the opacity of their highest value, of 255."""


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Fill one of the templates of studies and diagnoses, and write the page; return its path."""
    return fill(path, _environment().get_template(template), **content)


def drawn(
    sections: Iterable[DiagnosticSection], numbers: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return sections as a template shows them: with the numbers of the JSON file, and the figure as SVG."""
    return [
        {
            "name": section.name,
            "title": section.title,
            "sentence": section.sentence,
            "numbers": numbers[section.name]["numbers"],
            "plot": svg(section.figure, section.name) if section.figure is not None else "",
            "cards": [_card(card) for card in section.cards],
        }
        for section in sections
    ]


def _card(card: DiagnosticCard) -> dict[str, Any]:
    """Return a card as a template shows it: pictures as data URIs, maps as transparent pictures over the first one."""
    return {
        "title": card.title,
        "pictures": [(name, data_uri(picture)) for name, picture in card.pictures],
        "lines": card.lines,
        "maps": [(one.word, one.note, _transparent(one.values)) for one in card.maps],
    }


def _transparent(values: Float[Tensor, "h w"]) -> str:
    """Return a map as a picture in one colour, the more opaque the higher."""
    height, width = values.shape
    pixels = torch.empty(4, height, width, dtype=torch.uint8)
    pixels[:3] = torch.tensor(_HOT, dtype=torch.uint8)[:, None, None]
    pixels[3] = (values.clamp(0, 1) * _OPAQUE).round().byte()
    return data_uri(pixels)


@cache
def _environment() -> jinja2.Environment:
    made = environment(_TEMPLATES)
    made.filters |= {"number": words.number, "p_value": words.p_value, "counted": counted}
    return made


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None, which JSON can carry."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

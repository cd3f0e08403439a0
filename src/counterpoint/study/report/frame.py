"""The frame of the pages of studies and diagnoses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ...diagnostics.plots import svg
from ...diagnostics.report import DiagnosticSection
from ...pages.page import environment, fill
from ...reasons import counted
from . import words

_TEMPLATES = Path(__file__).parent / "templates"


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
        }
        for section in sections
    ]


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

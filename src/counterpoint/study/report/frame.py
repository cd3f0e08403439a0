"""The frame of every page: a template filled, with its style, as one file without scripts that needs no network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ...diagnostics.plots import svg
from ...diagnostics.report import Section
from ...files import write_text
from . import words

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Fill a template with content and the style of all pages, and write the page; return its path."""
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    write_text(path, _environment().get_template(template).render(**content, style=style))
    return path


def drawn(sections: Iterable[Section], numbers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": words.number, "p_value": words.p_value, "breakable": words.breakable}
    return environment


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None, which JSON can carry."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

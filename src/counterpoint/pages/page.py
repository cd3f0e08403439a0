"""The frame of every page: a template filled, with its style."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..files import write_text

_TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment(*folders: Path) -> jinja2.Environment:
    """Return an environment of these folders' templates, which may use the parts that all pages share."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = breakable
    return made


def breakable(name: str) -> Markup:
    """Write the name of an arm or of data so that it may be broken between its options.

    >>> breakable("slip,ssl_weight=0.5")
    Markup('slip,<wbr>ssl_weight=0.5')
    """
    return Markup(",<wbr>").join(name.split(","))


def fill(path: Path, template: jinja2.Template, **content: Any) -> Path:
    """Fill a template with content and the style of all pages, and write the page; return its path."""
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    write_text(path, template.render(**content, style=style))
    return path

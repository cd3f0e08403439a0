"""The parts that all looks have in common: their options, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

from pydantic import Field
from pydantic.dataclasses import dataclass as form
from rich.console import RenderableType

from ...forms import FORM, Positional

_WHAT = (
    "Of a run: `inside`, `all` with the slow measurements, what its patches say (`places`), or what the words of "
    "texts rest on (`words`). "
    "Of a model that answers: the support of a reply (`lens`), its `language`, its `states`, examples "
    "`in-context`."
)
_MODEL = "A folder or a hub name that transformers loads, or tiny-vlm, the one that comes along."

Notify = Callable[[str], None]
"""A function that is told what is being done."""


@form(frozen=True, config=FORM, kw_only=True)
class DiagnoseOptions:
    """Options of every look."""

    # The help of fields that other forms inherit is given in full: the text below a field stays with its own class.
    what: Annotated[
        Literal["inside", "all", "places", "words", "lens", "language", "states", "in-context"],
        Field(description=_WHAT),
    ] = "inside"
    json: Annotated[bool, Field(description="Print the numbers as JSON instead of sentences.")] = False


@form(frozen=True, config=FORM, kw_only=True)
class ModelDiagnoseOptions(DiagnoseOptions):
    """Options of every look at a vision-language model."""

    model: Annotated[str, Positional(), Field(description=_MODEL)]


@final
@dataclass(frozen=True)
class Diagnosis:
    """Numbers, sentences and page of a look.

    Attributes:
        values: for JSON.
        lines: for a reader at a terminal.
        page: the file that shows it.
    """

    values: Mapping[str, Any]
    lines: Sequence[RenderableType]
    page: Path

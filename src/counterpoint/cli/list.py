"""counterpoint list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from .common.arguments import parse

if TYPE_CHECKING:
    from rich.table import Table

Kind = Literal["losses", "methods", "tasks", "decoding", "presets", "recipes", "towers", "modalities"]


@form(frozen=True, config=FORM)
class List:
    """List what can be named on the command line."""

    kind: Annotated[Kind, Positional()]
    """Kind of thing to list."""
    json: bool = False
    """Print a JSON list of names."""


def main(arguments: Sequence[str]) -> int:
    options = parse(List, arguments, "list")
    names = known(options.kind)
    if options.json:
        print(json.dumps(list(names)))
        return 0
    if options.kind == "modalities":
        from .common.terminal import Terminal

        Terminal().print(modalities())
        return 0
    for name in names:
        print(name)
    return 0


def known(kind: Kind) -> tuple[str, ...]:
    """Return the names of a kind, without loading torch."""
    if kind == "recipes":
        from .. import recipes

        return recipes.names()
    if kind == "presets":
        from ..study.presets import PRESETS

        return tuple(PRESETS)
    if kind == "methods":
        from .. import methods

        return methods.METHODS.names()
    if kind == "losses":
        from .. import losses

        return losses.names()
    if kind == "tasks":
        from .. import evaluation

        return evaluation.TASKS.names()
    if kind == "decoding":
        from .. import decoding

        return decoding.DECODING.names()
    if kind == "modalities":
        from ..modalities import MODALITIES

        return MODALITIES.names()
    from .. import networks

    return networks.TOWERS


def modalities() -> Table:
    """Return a table of the modalities: the files, the towers and the views of training of each."""
    from rich.table import Table

    from ..modalities import MODALITIES

    shown = Table()
    for heading in ("modality", "examples", "files", "towers", "views"):
        shown.add_column(heading, overflow="fold", no_wrap=heading in {"modality", "examples"})
    for modality in MODALITIES:
        shown.add_row(
            modality.name,
            modality.noun,
            " ".join(sorted(modality.endings)),
            " ".join(modality.towers),
            " ".join(dict.fromkeys((modality.paired, modality.contrasted))),
        )
    return shown

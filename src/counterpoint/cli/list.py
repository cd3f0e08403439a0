"""counterpoint list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from .arguments import parse

Kind = Literal["losses", "methods", "tasks", "decoding", "presets", "recipes", "towers"]


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
    from .. import networks

    return networks.TOWERS

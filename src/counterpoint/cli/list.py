"""counterpoint list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from ..reasons import listing
from ..registry import Registry, load
from .common.arguments import parse

if TYPE_CHECKING:
    from rich.table import Table

Kind = Literal["losses", "methods", "tasks", "decoding", "presets", "recipes", "towers", "modalities"]


_ROOMS = {
    "losses": "counterpoint.losses:LOSSES",
    "methods": "counterpoint.methods:METHODS",
    "tasks": "counterpoint.evaluation:TASKS",
    "decoding": "counterpoint.decoding:DECODING",
}
_FAMILIES = frozenset({"losses", "methods", "tasks"})


@form(frozen=True, config=FORM)
class ListOptions:
    """List what can be named on the command line, and what each is."""

    kind: Annotated[Kind, Positional()]
    """Kind of thing to list: methods, losses, tasks, decoding, presets, recipes, towers or modalities."""
    json: bool = False
    """Print a JSON list of names alone."""


def main(arguments: Sequence[str]) -> int:
    options = parse(ListOptions, arguments, "list")
    named = known(options.kind)
    if options.json:
        print(json.dumps(list(named)))
        return 0
    from .common.terminal import Terminal

    if options.kind == "modalities":
        Terminal().print(modalities())
    elif options.kind in _FAMILIES:
        Terminal().print(by_family(load(_ROOMS[options.kind]), named))
    else:
        Terminal().print(lines(named))
    return 0


def known(kind: Kind) -> Mapping[str, str]:
    """Return what each thing of a kind is, by name, without loading torch."""
    if kind == "recipes":
        from .. import recipes

        return {name: recipes.about(name) for name in recipes.names()}
    if kind == "presets":
        from ..study.presets import PRESETS

        return {name: preset.about for name, preset in PRESETS.items()}
    if kind == "modalities":
        from ..modalities import MODALITIES

        return {modality.name: modality.noun for modality in MODALITIES}
    if kind == "towers":
        from ..modalities import MODALITIES
        from ..networks import TOWERS

        of = {name: [it.noun for it in MODALITIES if name in it.tower_names] for name in TOWERS}
        return {name: f"for {listing(nouns)}" if nouns else "" for name, nouns in of.items()}
    room: Registry = load(_ROOMS[kind])
    return {name: room.about(name) for name in room.names()}


def lines(named: Mapping[str, str]) -> Table:
    """Return names with what each is beside them."""
    from rich.table import Table

    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column()
    for name, about in named.items():
        shown.add_row(name, about)
    return shown


def by_family(registry: Registry, named: Mapping[str, str]) -> Table:
    """Return names with what each is, grouped by the ``family`` that their classes state."""
    from rich.text import Text

    families: dict[str, dict[str, str]] = {}
    for name, about in named.items():
        families.setdefault(registry.stated(name, "family"), {})[name] = about
    shown = lines({})
    for family, members in sorted(families.items()):
        if shown.row_count:
            shown.add_row("", "")
        shown.add_row(Text(family[:1].upper() + family[1:], style="bold"), "")
        for name, about in members.items():
            shown.add_row(name, about)
    return shown


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
            " ".join(modality.tower_names),
            " ".join(dict.fromkeys((modality.paired, modality.contrasted))),
        )
    return shown

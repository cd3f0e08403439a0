"""counterpoint diagnose: what is looked at is a file each, with its options and its page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from ...registry import unknown
from ..common.arguments import parse, value_of
from ..common.terminal import Terminal, print_json

PARTS = {
    "inside": ("inside", "InsideOptions"),
    "all": ("inside", "InsideOptions"),
    "places": ("inside", "InsideOptions"),
    "words": ("inside", "InsideOptions"),
    "lens": ("lens", "LensOptions"),
    "language": ("language", "LanguageOptions"),
    "states": ("states", "StatesOptions"),
    "in-context": ("in_context", "InContextOptions"),
}
"""Values of ``--what``, each with the module that measures it and the class of its options."""


def main(arguments: Sequence[str]) -> int:
    what = value_of(arguments, "--what") or "inside"
    if what not in PARTS:
        raise unknown("thing to look at", what, PARTS)
    module, form = PARTS[what]
    part = import_module(f"{__name__}.{module}")
    options = parse(getattr(part, form), arguments, "diagnose")
    console = Terminal(stderr=options.json)
    with console.status("loading torch") as status:
        diagnosis = part.diagnose(options, ["counterpoint", "diagnose", *arguments], status.update)
    if options.json:
        print_json(diagnosis.values)
        return 0
    for line in diagnosis.lines:
        console.print(line)
    console.print(f"\npage: {diagnosis.page}", soft_wrap=True)
    return 0

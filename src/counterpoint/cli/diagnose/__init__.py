"""counterpoint diagnose: what is looked at is a file each, with its options and its page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from ...registry import unknown
from ..common.arguments import parse, value_of
from ..common.terminal import Terminal, print_json

PARTS = {
    "inside": "inside",
    "all": "inside",
    "lens": "lens",
    "language": "language",
    "in-context": "in_context",
}
"""Values of ``--what``, each with the module that measures it."""


def main(arguments: Sequence[str]) -> int:
    what = value_of(arguments, "--what") or "inside"
    if what not in PARTS:
        raise unknown("thing to look at", what, PARTS)
    part = import_module(f"{__name__}.{PARTS[what]}")
    options = parse(part.Form, arguments, "diagnose")
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

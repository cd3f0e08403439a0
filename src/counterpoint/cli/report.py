"""counterpoint report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from .arguments import parse
from .terminal import Terminal


@dataclass(frozen=True)
class Report:
    """Write a study's summary, tables and report again from its runs, and show them."""

    study: tyro.conf.Positional[Path]
    """A study folder."""
    json: bool = False
    """Print the summary as JSON instead of tables."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Report, arguments, "report")

    console = Terminal(stderr=given.json)
    with console.status("reading the runs"):
        from ..study.decoding.study import again as again_decoding
        from ..study.design import kind_of
        from ..study.study import again

        decoding = kind_of(given.study) == "decoding"
        study: Any = again_decoding(given.study) if decoding else again(given.study)
    if given.json:
        json.dump(study.summary, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    if decoding:
        from .compare_decoding import show
    else:
        from .compare import show
    show(console, study)
    return 0

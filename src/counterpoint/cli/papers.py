"""counterpoint papers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from .common.arguments import parse
from .common.terminal import Terminal

Status = Literal["planned", "implemented", "verified"]


@form(frozen=True, config=FORM)
class ListPapers:
    """List the papers."""

    status: Status | None = None
    """Only papers of this status: verified ones have evidence here that reproduces their claim."""
    family: str | None = None
    """Only papers of this family, such as pairwise."""
    text: str | None = None
    """Only papers whose name, title or summary holds these words."""
    json: bool = False
    """Print a JSON list instead of a table."""


@form(frozen=True, config=FORM)
class ShowPaper:
    """Show one paper: what it is, where it lives, what was measured."""

    slug: Annotated[str, Positional()]
    """The paper's name here (see: counterpoint papers list)."""
    json: bool = False
    """Print JSON instead of a page."""


FORMS: dict[str, type[ListPapers] | type[ShowPaper]] = {"list": ListPapers, "show": ShowPaper}


@form(frozen=True, config=FORM)
class PapersOptions:
    """The papers: what each is, where it lives, what was measured."""

    action: Annotated[Literal["list", "show"], Positional()] = "list"
    """list: all papers, or those of a --status; show SLUG: one of them. Each has its own --help."""


def main(arguments: Sequence[str]) -> int:
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help"}):
        words.insert(0, "list")
    if words[0] not in FORMS:
        parse(PapersOptions, words, "papers")  # answers --help, and a wrong word with what is right
        return 2
    options = parse(FORMS[words[0]], words[1:], f"papers {words[0]}")

    from .. import catalog
    from ..catalog.render import as_dict, page, table

    if isinstance(options, ShowPaper):
        paper = catalog.paper(options.slug)
        if options.json:
            print(json.dumps(as_dict(paper), indent=2, ensure_ascii=False))
        else:
            Terminal().print(page(paper))
        return 0
    papers = catalog.find(status=options.status, family=options.family, text=options.text)
    if options.json:
        print(json.dumps([as_dict(paper) for paper in papers], indent=2, ensure_ascii=False))
    else:
        Terminal().print(table(papers))
    return 0

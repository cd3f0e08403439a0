"""Pages that are generated: papers, evidence, methods, losses, tasks, commands, and the API of each package.

They are written to folders of docs/ that git ignores when a build starts, and only where they changed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_page import evidence_page, learned
from method_page import method_index, method_page
from paper_page import paper_page
from problems import PLACE, problems
from reference_pages import commands_page, losses_page, tasks_page

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.methods import METHODS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGES = (
    "counterpoint.methods",
    "counterpoint.losses",
    "counterpoint.pairwise",
    "counterpoint.networks",
    "counterpoint.training",
    "counterpoint.data",
    "counterpoint.evaluation",
    "counterpoint.statistics",
    "counterpoint.execution",
    "counterpoint.models",
    "counterpoint.exporting",
    "counterpoint.serving",
    "counterpoint.study",
    "counterpoint.diagnostics",
    "counterpoint.decoding",
    "counterpoint.generation",
    "counterpoint.recipes",
    "counterpoint.catalog",
    "counterpoint.types",
    "counterpoint.registry",
    "counterpoint.testing",
    "counterpoint_reproductions",
)
"""Packages and modules with a page of their public names."""


def paper_index(papers: tuple[catalog.Paper, ...]) -> str:
    """Return the page of all papers: what was learned, a table, and a hidden table of contents of those with a page."""
    counts = {status: len(catalog.find(status=status)) for status in catalog.STATUSES}
    lines = [
        "# Papers",
        "",
        f"The catalog holds {len(papers)} papers: {counts['planned']} planned, "
        f"{counts['implemented']} implemented, {counts['verified']} verified. *Verified* means that an "
        "experiment of ours, run from this repository, reproduced the paper's claim at a small scale; "
        "*implemented* that the code is there and tested, and the claim is untested, inconclusive or not "
        "reproduced (its page says which).",
        "",
        *learned([(p, Evidence.read(p.evidence)) for p in papers if p.evidence is not None], "{}.md"),
        "",
        "## All papers",
        "",
        "| paper | title | year | family | kind | status |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for paper in papers:
        name = f"[{paper.slug}]({paper.slug}.md)" if paper.symbols else paper.slug
        title = f"[{paper.title.replace('|', '&#124;')}]({paper.url})"
        lines.append(f"| {name} | {title} | {paper.year} | {paper.family} | {paper.kind} | {paper.status} |")
    with_page = [paper.slug for paper in papers if paper.symbols]
    if with_page:
        lines += ["", "```{toctree}", ":hidden:", "", *with_page, "```"]
    return "\n".join([*lines, ""])


def api_page(package: str) -> str:
    return f"# {package}\n\n```{{eval-rst}}\n.. automodule:: {package}\n```\n"


def api_index() -> str:
    lines = ["# API", "", "The public names of each package.", "", "```{toctree}", "", *PACKAGES, "```", ""]
    return "\n".join(lines)


def write(folder: Path, pages: dict[str, str]) -> None:
    """Make a folder hold exactly these pages, leaving alone those that are as they should be."""
    folder.mkdir(exist_ok=True)
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def generate(app: Sphinx) -> None:
    source = Path(app.srcdir)
    papers = catalog.papers()
    implemented = {paper.slug: paper_page(paper) for paper in papers if paper.symbols}
    write(source / "papers", {"index": paper_index(papers)} | implemented)
    write(source / "evidence", {"index": evidence_page(papers)})
    write(
        source / "methods", {"index": method_index()} | {name: method_page(name) for name in METHODS.names()}
    )
    write(source / "losses", {"index": losses_page()})
    write(source / "tasks", {"index": tasks_page()})
    write(source / "commands", {"index": commands_page()})
    write(source / "api", {"index": api_index()} | {package: api_page(package) for package in PACKAGES})


def keep_formulas(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Keep ``x_`` and ``|x|`` outside literals: in a docstring they are a formula's, not reStructuredText's."""
    for at, line in enumerate(lines):
        parts = re.split(r"(``.*?``|`.*?`_*)", line)
        parts[::2] = [re.sub(r"(?<=\w)_(?!\w)|(?<!\\)\|", r"\\\g<0>", part) for part in parts[::2]]
        lines[at] = "".join(parts)


def put_problems(_app: Any, _page: str, content: list[str]) -> None:
    """Put the table of problems where a page has a place for it."""
    content[0] = PLACE.sub(problems, content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", generate)
    app.connect("source-read", put_problems)
    app.connect("autodoc-process-docstring", keep_formulas)
    return {"parallel_read_safe": True}

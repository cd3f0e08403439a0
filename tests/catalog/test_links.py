"""Paper → symbols → recipe → claim → evidence, and back from everything registered to its paper."""

from __future__ import annotations

from importlib.resources import files

import pytest

from counterpoint import catalog
from counterpoint.catalog.entries import evidence_folder
from counterpoint.catalog.evidence import Evidence
from counterpoint.decoding import DECODING
from counterpoint.evaluation import TASKS
from counterpoint.losses import LOSSES
from counterpoint.methods import METHODS
from counterpoint.registry import Registry, load

IMPLEMENTED = [paper for paper in catalog.papers() if paper.symbols or paper.recipe or paper.claim]


ROOMS: dict[str, Registry] = {room.kind: room for room in (LOSSES, METHODS, TASKS, DECODING)}
REGISTERED = [(kind, name) for kind, room in ROOMS.items() for name in room.names()]


def test_what_the_catalog_names_exists(subtests: pytest.Subtests) -> None:
    for paper in IMPLEMENTED:
        with subtests.test(paper.slug):
            assert paper.symbols, "a recipe or a claim without anything that implements the paper"
            for symbol in (*paper.symbols, *((paper.claim,) if paper.claim else ())):
                assert symbol.startswith(("counterpoint.", "counterpoint_reproductions."))
                found = load(symbol)
                papers = getattr(found, "papers", None)
                assert papers is None or paper.slug in papers, (
                    f"{symbol} does not name {paper.slug} among its papers"
                )
            if paper.recipe:
                assert (files("counterpoint") / "recipes" / f"{paper.recipe}.yaml").is_file()


def test_what_is_registered_is_in_the_catalog(subtests: pytest.Subtests) -> None:
    for kind, name in REGISTERED:
        with subtests.test(f"{kind} {name}"):
            found = ROOMS[kind].get(name)
            papers: tuple[str, ...] = getattr(found, "papers", ())
            # A task or a baseline may be nobody's paper, as those are that adapt a frozen pair, plain fine-tuning, a
            # painter, and the plain ways to teach it words.
            baselines = {"plain", "sft", "painter", "kind", "textual-inversion", "custom-diffusion"}
            baseline = name in baselines or getattr(found, "names", False)
            if kind in {"loss", "method", "decoding method"} and not baseline:
                assert papers, f"{kind} {name} names no paper"
            for slug in papers:
                assert found in [load(symbol) for symbol in catalog.paper(slug).symbols], (
                    f"{slug} does not list {name}"
                )


def test_evidence_belongs_to_implemented_paper_and_no_smoke_run() -> None:
    for path in sorted(evidence_folder().glob("*.json")):
        evidence = Evidence.read(path)
        paper = catalog.paper(evidence.slug)
        assert path.stem == paper.slug
        assert paper.symbols, f"{path.name}: nothing implements {paper.slug}"
        assert not evidence.quick, f"{path.name} is from a quick run, which proves nothing"
        assert evidence.command.startswith("counterpoint reproduce ")

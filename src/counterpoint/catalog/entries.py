"""The entries of the catalog, and how to find one."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..registry import source_of, unknown

if TYPE_CHECKING:
    from .evidence import Evidence

FAMILIES = (
    "adaptation",
    "analysis",
    "captioning",
    "clustering",
    "data",
    "decoding",
    "dense",
    "evaluation",
    "experts",
    "fusion",
    "generation",
    "lmm",
    "masked",
    "noncontrastive",
    "pairwise",
    "preference",
    "supervised",
)
KINDS = (
    "adaptation",
    "analysis",
    "architecture",
    "benchmark",
    "data",
    "decoding",
    "objective",
    "preference",
    "theory",
    "training-method",
)
STATUSES = ("planned", "implemented", "verified")

_HERE = Path(__file__).resolve().parent
_DECLARED = re.compile(
    r"^class (?P<class>\w+)|^    papers(?:: [^=\n]+)? = (?P<papers>\([^)]*\))|^PAPERS = (?P<PAPERS>\{[^}]*\})",
    re.MULTILINE,
)
_CHECKOUT = _HERE.parents[2]


def evidence_folder() -> Path:
    """Return the folder of the evidence: ``evidence/`` of a checkout, or its copy inside an installed package."""
    if (_CHECKOUT / "pyproject.toml").is_file() and _HERE.parent.parent == _CHECKOUT / "src":
        return _CHECKOUT / "evidence"
    return _HERE / "measured"


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One paper, and what this project has made of it.

    Attributes:
        slug: its name here, in file names and on the command line.
        title, year, arxiv: the publication; ``arxiv`` is the identifier without a version.
        family: what it is about, one of ``FAMILIES``.
        kind: what it contributes, one of ``KINDS``.
        modalities: the kinds of input it works on.
        summary: its contribution in one or two sentences.
        reference_code: public code of the paper and its licence, if known.
        symbols: what implements it, each ``"package.module:Symbol"``: whatever names the paper in the sources.
        recipe: the recipe that trains it, a file ``recipes/NAME.yaml``.
        claim: the experiment that tests it, ``"package.module:Symbol"``: the file of its name among the claims.
    """

    slug: str
    title: str
    year: int
    arxiv: str
    family: str
    kind: str
    modalities: tuple[str, ...]
    summary: str
    reference_code: str | None = None
    symbols: tuple[str, ...] = ()
    recipe: str | None = None
    claim: str | None = None

    @property
    def url(self) -> str:
        """The paper's page.

        >>> paper("siglip").url
        'https://arxiv.org/abs/2303.15343'
        """
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def evidence(self) -> Path | None:
        """The file with what was measured, or None if nothing was."""
        path = evidence_folder() / f"{self.slug}.json"
        return path if path.is_file() else None

    @property
    def status(self) -> str:
        """``planned`` without symbols, ``verified`` if evidence reproduces it, else ``implemented``."""
        if not self.symbols:
            return "planned"
        return "verified" if self._verdict() == "reproduced" else "implemented"

    def changed_since(self, evidence: Evidence) -> bool:
        """Return whether the claim's file is another than when its evidence was recorded.

        False of evidence that does not say which file it was.
        """
        if evidence.declared is None or self.claim is None:
            return False
        from .digest import digest

        return digest(source_of(self.claim.partition(":")[0])) != evidence.declared

    def _verdict(self) -> str | None:
        path = self.evidence
        if path is None:
            return None
        from .evidence import Evidence  # pydantic is needed only where there is something to read

        return Evidence.read(path).verdict


@cache
def reproductions() -> Any:
    """Return the package that defines the claims: the entry point ``claims`` of the group ``counterpoint``.

    Raises:
        ModuleNotFoundError: if no installed distribution has this entry point.
    """
    for entry in entry_points(group="counterpoint", name="claims"):
        return entry.load()
    raise ModuleNotFoundError(
        "no package of claims is installed; install counterpoint again: pip install -e ."
    )


@cache
def _papers() -> dict[str, Paper]:
    described = _read("papers.yaml")
    implemented, symbols = _read("implemented.yaml"), declared()
    claims = reproductions().CLAIMS
    for slug in implemented:
        if slug not in described:
            raise unknown("paper in implemented.yaml", slug, described)
    for slug, things in symbols.items():
        if slug not in described:
            raise unknown(f"paper of {things[0]}", slug, described)
    papers = {}
    for slug in sorted(described):
        facts = described[slug] | implemented.get(slug, {})
        facts["modalities"] = tuple(facts.get("modalities", ()))
        claim = claims.reference(slug) if slug in claims else None
        papers[slug] = Paper(slug=slug, symbols=symbols.get(slug, ()), claim=claim, **facts)
    return papers


def declared() -> dict[str, tuple[str, ...]]:
    """Return what implements each paper, as the sources say it, without importing them.

    A class names its papers in ``papers = (…)``; a module lists what else it holds in ``PAPERS = {slug: (names, …)}``.

    >>> declared()["inf-cl"]
    ('counterpoint.pairwise.reduce:reduce', 'counterpoint.pairwise.tiled.engine:run')
    """
    symbols: dict[str, list[str]] = {}
    packages = [_HERE.parent, Path(reproductions().__file__).parent]
    for path in sorted(path for package in packages for path in package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "papers" not in text and "PAPERS" not in text:
            continue
        package = next(package for package in packages if path.is_relative_to(package))
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        owner = ""
        for match in _DECLARED.finditer(text):
            if match["class"]:
                owner = match["class"]
            elif match["papers"]:
                for slug in ast.literal_eval(match["papers"]):
                    symbols.setdefault(slug, []).append(f"{module}:{owner}")
            else:
                for slug, names in ast.literal_eval(match["PAPERS"]).items():
                    symbols.setdefault(slug, []).extend(f"{module}:{name}" for name in names)
    return {slug: tuple(things) for slug, things in symbols.items()}


def _read(name: str) -> dict[str, dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader reads the file ten times as fast
    return yaml.load((_HERE / name).read_text(encoding="utf-8"), Loader=loader)


def papers() -> tuple[Paper, ...]:
    """Return all papers, by slug."""
    return tuple(_papers().values())


def paper(slug: str) -> Paper:
    """Return the paper of this slug.

    Raises:
        UnknownNameError: for a slug that is not in the catalog; names the nearest.

    >>> paper("clip-rocket").year
    2023
    """
    known = _papers()
    if slug not in known:
        raise unknown("paper", slug, known)
    return known[slug]


def find(
    *, family: str | None = None, kind: str | None = None, status: str | None = None, text: str | None = None
) -> tuple[Paper, ...]:
    """Return the papers that fit every condition given.

    Args:
        family: one of ``FAMILIES``.
        kind: one of ``KINDS``.
        status: one of ``STATUSES``.
        text: words that all occur in the slug, the title or the summary, in any case and order.

    Raises:
        UnknownNameError: for a family, kind or status that does not exist.

    >>> [found.slug for found in find(family="pairwise", text="sigmoid pair")]
    ['siglip']
    """
    for name, value, known in (
        ("family", family, FAMILIES),
        ("kind", kind, KINDS),
        ("status", status, STATUSES),
    ):
        if value is not None and value not in known:
            raise unknown(name, value, known)
    words = (text or "").lower().split()

    def fits(candidate: Paper) -> bool:
        haystack = f"{candidate.slug} {candidate.title} {candidate.summary}".lower()
        return (
            (family is None or candidate.family == family)
            and (kind is None or candidate.kind == kind)
            and (status is None or candidate.status == status)
            and all(word in haystack for word in words)
        )

    return tuple(filter(fits, papers()))

"""counterpoint reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, Positional
from .common.arguments import parse
from .common.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from counterpoint_reproductions import RunPlan
    from counterpoint_reproductions.lab.plan import PlannedPart

    from ..catalog.evidence import Evidence


@form(frozen=True, config=FORM)
class ReproduceOptions:
    """Run the experiment that tests a paper's claim; the same command goes on where it stopped."""

    slug: Annotated[str, Positional()]
    """The paper (see: counterpoint papers list)."""
    quick: bool = False
    """A smoke run of seconds, whose numbers show nothing."""
    decide: bool = False
    """A second run, on seeds that the evidence file has not used: twice as many as would decide what it leaves open.
    Made data are of another world, with a larger test set where that decides."""
    plan: bool = False
    """A pilot run on two other seeds, which prints how wide each part's interval would be against its smallest effect
    of interest, and how long the run would take. It writes no evidence."""
    jobs: Count = 1
    """Training runs at a time, each in a process of its own."""
    out: Path | None = None
    """Path of the evidence file; evidence/SLUG.json unless given, and no file with --quick."""
    json: bool = False
    """Print the evidence as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    options = parse(ReproduceOptions, arguments, "reproduce")
    # The name is checked before torch is loaded, so that a typo is answered at once.
    from ..catalog import paper, reproductions

    CLAIMS = reproductions().CLAIMS
    title = paper(options.slug).title
    if options.slug not in CLAIMS:
        raise ValueError(
            f"{options.slug} ({title}) has no claim that can be run here; those that have: {', '.join(CLAIMS.names())}"
        )

    if options.plan:
        if options.quick or options.decide or options.json or options.out:
            raise ValueError("--plan writes no evidence; give it without --quick, --decide, --json and --out")
        return _plan(options)
    console = Terminal(stderr=options.json)
    path = options.out or (None if options.quick else destination(options.slug))
    first = evidence_at(options.out or destination(options.slug)) if options.decide else None
    with console.status("loading torch"):
        from rich.text import Text

        from ..catalog.render import questions
        from ..study.gate import check_file

    if path is not None:
        check_file(path)
    from .common.progress import WorkProgress

    with WorkProgress(console) as progress:
        evidence = reproductions().reproduce(
            options.slug,
            options.quick,
            jobs=options.jobs,
            decide=first,
            listener=progress,
            notify=progress.words(options.slug),
        )
    if path is not None:
        evidence.write(path)
    if options.json:
        print(evidence.model_dump_json(indent=2))
        return 0
    console.print(title, style="bold underline")
    console.print(evidence.claim)
    if evidence.quick:
        console.print("A smoke run: these numbers show nothing.", style="yellow")
    console.print(table(evidence))
    console.print(evidence.notes, style="dim")
    console.print(f"verdict: {evidence.verdict}", style="bold")
    for sentence in () if evidence.quick else questions(evidence):
        console.print(Text(sentence))
    if path is not None:
        console.print(f"evidence: {path}", soft_wrap=True)
    return 0


def _plan(options: ReproduceOptions) -> int:
    """Print what a pilot run says of the full one."""
    from ..catalog import reproductions

    console = Terminal()
    with console.status("loading torch"):
        plan = reproductions().plan

    from .common.progress import WorkProgress

    with WorkProgress(console) as progress:
        expected = plan(
            options.slug, jobs=options.jobs, listener=progress, notify=progress.words(options.slug)
        )
    console.print(plan_table(expected))
    console.print(
        "Expected from two pilot seeds, whose standard deviation is uncertain by a factor of several. An interval that "
        "is narrower than δ decides whatever the value is.",
        style="dim",
    )
    return 0


def plan_table(plan: RunPlan) -> Table:
    """Return a table of the deciding parts: the expected width of each against δ, and what would decide."""
    from rich.table import Table
    from rich.text import Text

    from ..catalog.render import number

    table = Table(
        caption=f"{plan.seeds} seeds, about {plan.seconds / 60:,.0f} minutes", caption_justify="left"
    )
    table.add_column("part", overflow="fold")
    for column in ("role", "expected width", "δ", "decides"):
        table.add_column(column, no_wrap=True)
    for part in plan.parts:
        table.add_row(
            Text(part.name),
            part.role or "none declared",
            number(part.width),
            number(part.delta),
            deciding(part),
        )
    return table


def deciding(part: PlannedPart) -> str:
    """Say whether a part's width decides, or what would make it."""
    if part.decides is None:
        return "–"
    if part.decides:
        return "yes"
    if part.seeds is not None:
        return f"with {part.seeds:,} seeds"
    if part.examples is not None and part.examples > 1:
        return f"with {part.examples:.1f} × the examples"
    return "no"


def evidence_at(path: Path) -> Evidence:
    """Read the evidence of a first run.

    Raises:
        ValueError: if there is none.
    """
    from ..catalog.evidence import Evidence

    if not path.exists():
        raise ValueError(f"--decide: there is no {path}; run the claim without --decide first")
    return Evidence.read(path)


def table(evidence: Evidence) -> Table:
    """Return a table of what was measured: first what the verdict rests on, then what is reported besides."""
    from rich.table import Table
    from rich.text import Text

    from ..catalog.render import expectation, judged, number

    styles = {"reproduced": "green", "not reproduced": "red", "inconclusive": "yellow"}
    measured = Table(
        caption=f"{evidence.seconds:,.0f} s on {evidence.machine.cores} cores", caption_justify="left"
    )
    measured.add_column("measured", overflow="fold")
    for column in ("expected", "95 % interval", "verdict"):
        measured.add_column(column, no_wrap=True)
    for decides in (True, False):
        measured.add_section()
        for result in evidence.results:
            if result.decides == decides:
                style = styles[result.verdict]
                measured.add_row(
                    Text.assemble(result.name, (f"\n{result.metric}", "dim")),
                    expectation(result),
                    Text.assemble(
                        number(result.estimate), (f"\n{number(result.low)} … {number(result.high)}", "dim")
                    ),
                    Text.assemble((judged(result), style), ("" if decides else "\n(beside it)", "dim")),
                )
    return measured


def destination(slug: str) -> Path:
    """Return the checkout's evidence folder; of an installed package, one here."""
    from ..catalog.entries import evidence_folder

    folder = evidence_folder()
    return (folder if folder.name == "evidence" else Path("evidence")) / f"{slug}.json"

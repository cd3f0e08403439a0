"""A page per paper: its formula, the commands that try it on one's own data, and what was measured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from evidence_page import open_questions, table

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.catalog.render import COLUMNS, row
from counterpoint.claims._presets import stated
from counterpoint.decoding._registry import DECODING
from counterpoint.evaluation._registry import TASKS
from counterpoint.methods._registry import METHODS
from counterpoint.methods.base import Method
from counterpoint.registry import Room, load
from counterpoint.study.presets import PRESETS

LOOKS = (
    (
        "counterpoint.diagnostics.assistants.captions",
        "counterpoint diagnose MODEL --what lens --image PICTURE",
    ),
    ("counterpoint.diagnostics.assistants", "counterpoint diagnose MODEL --what language"),
    ("counterpoint.evaluation.answering.in_context", "counterpoint diagnose MODEL --what in-context"),
    ("counterpoint.diagnostics", "counterpoint diagnose RUN"),
)

_SECTIONS = r"^(?:Args|Attributes|Raises|Returns|Source|>>> )"


def paper_page(paper: catalog.Paper) -> str:
    """Return the page of one paper."""
    lines = [f"# {paper.slug}", "", f"*[{paper.title}]({paper.url})* ({paper.year})", "", paper.summary, ""]
    lines += formula(paper)
    tried = list(dict.fromkeys(commands(paper)))
    if tried:
        lines += ["## On your own data", "", "```console", *(f"$ {line}" for line in tried), "```", ""]
    if paper.evidence is not None:
        lines += measured(Evidence.read(paper.evidence))
    facts = {
        "Family": f"{paper.family}, {paper.kind}; {', '.join(paper.modalities)}",
        "Public code": paper.reference_code,
        "Status": paper.status,
        "Code": ", ".join(f"`{symbol.replace(':', '.')}`" for symbol in paper.symbols) or None,
        "Recipe": paper.recipe and f"`{paper.recipe}`",
        "Claim": paper.claim and f"`{paper.claim.replace(':', '.')}`",
        "Run the claim": paper.claim and f"`counterpoint reproduce {paper.slug}`",
    }
    lines += ["## Where it is", ""]
    for name, value in facts.items():
        if value:
            lines += [name, f": {value}", ""]
    return "\n".join(lines)


def formula(paper: catalog.Paper) -> list[str]:
    """Return the first formula that a docstring of the paper's code holds, under its first line."""
    for pattern in (
        r"((?:^ {4}.*\n(?:\n(?= {4}))?)+)",
        r"``([^`]* [=←∝] [^`]*)``",
        r"``([^`]* [·−+] ?[^`]*)``",
    ):
        for symbol in paper.symbols:
            text = inspect.getdoc(load(symbol)) or ""
            before = re.split(_SECTIONS, text, maxsplit=1, flags=re.MULTILINE)[0] + "\n"
            blocks = re.findall(pattern, before, re.MULTILINE)
            if block := next((b for b in blocks if re.search(r"[=←∝≈≤·−+]", b) and '"' not in b), None):
                body = [line.removeprefix("    ") for line in block.rstrip().splitlines()]
                first = " ".join(text.partition("\n\n")[0].split())
                return ["## In a formula", "", first, "", "```text", *body, "```", ""]
    return []


def commands(paper: catalog.Paper) -> Iterator[str]:
    """Yield the commands that try what the paper gave."""
    if paper.slug in PRESETS or (paper.claim and stated(paper.slug)):
        yield f"counterpoint compare --preset {paper.slug} --data DATA --seeds 5"
    arms = [arm for arm in (_name_in(METHODS, symbol) for symbol in paper.symbols) if arm and arm != "clip"]
    both = [arm for arm in arms if _takes_two(arm)]
    if both:
        yield f"counterpoint compare clip {' '.join(dict.fromkeys(both))} --data PAIRS --seeds 5"
    if alone := [arm for arm in arms if arm not in both]:
        yield f'counterpoint compare "ntxent,on=images" {" ".join(dict.fromkeys(alone))} --data PAIRS --tasks probe'
    for symbol in paper.symbols:
        if task := _name_in(TASKS, symbol):
            if "assistant" in TASKS.get(task).asks:
                yield f"counterpoint compare-decoding plain vcd --model MODEL --data QUESTIONS --tasks {task}"
            else:
                yield f"counterpoint compare clip siglip --data PAIRS --tasks {task}"
            continue
        if method := _name_in(DECODING, symbol):
            yield f"counterpoint compare-decoding {method} --model MODEL --data questions:QUESTIONS.csv"
            continue
        module = symbol.partition(":")[0]
        look = next((command for start, command in LOOKS if module.startswith(start)), None)
        if look is not None:
            yield look


def _takes_two(arm: str) -> bool:
    """Return whether an arm learns from pictures with texts; a loss by itself does."""
    method = METHODS.get(arm)
    return not issubclass(method, Method) or method.needs.most != 1


def _name_in(room: Room, symbol: str) -> str | None:
    """Return the name under which a room has a symbol."""
    return next((name for name in room.names() if _reference(room, name) == symbol), None)


def _reference(room: Room, name: str) -> str | None:
    try:
        return room.reference(name)
    except ValueError:  # a short name of another one
        return None


def measured(evidence: Evidence) -> list[str]:
    """Return what was measured: the verdict first, then a row for each result."""
    machine = evidence.machine
    lines = [
        "## Measurements",
        "",
        f"**{evidence.verdict.capitalize()}**: {evidence.claim}",
        "",
        *open_questions(evidence),
        *table(COLUMNS, map(row, evidence.results)),
        "",
        f"A result in brackets is reported but does not decide the verdict. `{evidence.command}` took "
        f"{evidence.seconds:,.0f} s on {machine.cores} cores, {machine.device} ({evidence.date}).",
        "",
    ]
    return [*lines, evidence.notes, ""]

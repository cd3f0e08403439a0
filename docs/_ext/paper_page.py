"""A page per paper: its formula, the commands that try it on one's own data, and what was measured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

from evidence_page import declared, open_questions, table

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.catalog.render import COLUMNS, row
from counterpoint.decoding._registry import DECODING
from counterpoint.evaluation._registry import TASKS
from counterpoint.methods._registry import METHODS
from counterpoint.methods.arm import Arm
from counterpoint.methods.options import required
from counterpoint.registry import Registry, load
from counterpoint.study.presets import PRESETS
from counterpoint_reproductions._presets import stated
from counterpoint_reproductions._registry import module

LOOKS = (
    (
        "counterpoint.diagnostics.assistants.captions",
        "counterpoint diagnose MODEL --what lens --image PICTURE",
    ),
    ("counterpoint.diagnostics.assistants.concepts", "counterpoint diagnose MODEL --what states"),
    ("counterpoint.diagnostics.assistants.modalities", "counterpoint diagnose MODEL --what states"),
    ("counterpoint.diagnostics.assistants", "counterpoint diagnose MODEL --what language"),
    ("counterpoint.evaluation.in_context", "counterpoint diagnose MODEL --what in-context"),
    ("counterpoint.diagnostics", "counterpoint diagnose RUN"),
)

LEARNERS = {"classes": "cross-entropy", "tags": "bce", "numbers": "l1"}
"""The plainest method that learns a label of each kind."""

_SECTIONS = r"^(?:Args|Attributes|Raises|Returns|Source|>>> )"


def paper_page(paper: catalog.Paper) -> str:
    """Return the page of one paper."""
    lines = [f"# {paper.slug}", "", f"*[{paper.title}]({paper.url})* ({paper.year})", "", paper.summary, ""]
    lines += formula(paper.symbols)
    tried = list(dict.fromkeys(commands(paper)))
    if tried:
        lines += ["## On your own data", "", "```console", *(f"$ {line}" for line in tried), "```", ""]
    if paper.evidence is not None:
        lines += measured(paper, Evidence.read(paper.evidence))
    facts = {
        "Family": f"{paper.family}, {paper.kind}; {', '.join(paper.modalities)}",
        "Public code": paper.reference_code,
        "Status": paper.status,
        "Code": ", ".join(f"`{symbol.replace(':', '.')}`" for symbol in paper.symbols) or None,
        "Recipe": paper.recipe and f"`{paper.recipe}`",
        "Claim": paper.claim and f"`{paper.claim.replace(':', '.')}`",
        "Run the claim": paper.claim and f"`counterpoint reproduce {paper.slug}`",
        "Not the registered method": paper.claim and getattr(module(paper.slug), "OWN", None),
    }
    lines += ["## Where it is", ""]
    for name, value in facts.items():
        if value:
            lines += [name, f": {value}", ""]
    return "\n".join(lines)


def formula(symbols: Sequence[str], title: str = "In a formula") -> list[str]:
    """Return the first formula that a docstring of some symbols holds, under its first line."""
    for pattern in (
        r"((?:^ {4}.*\n(?:\n(?= {4}))?)+)",
        r"``([^`]* [=←∝] [^`]*)``",
        r"``([^`]* [·−+] ?[^`]*)``",
    ):
        for symbol in symbols:
            text = inspect.getdoc(load(symbol)) or ""
            before = re.split(_SECTIONS, text, maxsplit=1, flags=re.MULTILINE)[0] + "\n"
            blocks = re.findall(pattern, before, re.MULTILINE)
            if block := next((b for b in blocks if re.search(r"[=←∝≈≤·−+]", b) and '"' not in b), None):
                body = [line.removeprefix("    ") for line in block.rstrip().splitlines()]
                first = " ".join(text.partition("\n\n")[0].split())
                return [f"## {title}", "", first, "", "```text", *body, "```", ""]
    return []


def commands(paper: catalog.Paper) -> Iterator[str]:
    """Yield the commands that try what the paper gave."""
    preset = PRESETS.get(paper.slug) or (stated(paper.slug) if paper.claim else None)
    if preset is not None:
        yield f"counterpoint compare --preset {paper.slug} --data DATA --seeds 5"
    beside: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(_name_in(METHODS, symbol) for symbol in paper.symbols):
        if name and name != "clip":
            arm = ",".join([name, *(f"{option}={option.upper()}" for option in required(METHODS.get(name)))])
            if fair := compared(name):
                beside.setdefault(fair, []).append(arm)
            elif preset is None:
                yield f"counterpoint train {arm} --data DATA"
    for (baseline, options), arms in beside.items():
        yield f"counterpoint compare {' '.join(dict.fromkeys([baseline, *arms]))} {options}"
    for symbol in paper.symbols:
        if task := _name_in(TASKS, symbol):
            if "assistant" in TASKS.get(task).asks:
                yield f"counterpoint compare-decoding plain vcd --model MODEL --data DATA --tasks {task}"
            elif "painter" in TASKS.get(task).asks:
                yield f"counterpoint compare kind textual-inversion --from PAINTER --data DATA --tasks {task}"
            elif preset is None or task not in preset.tasks:
                yield f"counterpoint compare clip siglip --data DATA --tasks {task}"
            continue
        if method := _name_in(DECODING, symbol):
            yield f"counterpoint compare-decoding {method} --model MODEL --data questions:QUESTIONS.csv"
            continue
        module = symbol.partition(":")[0]
        look = next((command for start, command in LOOKS if module.startswith(start)), None)
        if look is not None:
            yield look


def compared(name: str) -> tuple[str, str] | None:
    """Return an arm to compare with and the options; None where pictures with captions are not what the arm reads."""
    arm = Arm.parse(name)
    if arm.draws_words:
        return "kind,painter=PAINTER", "--data DATA --tasks drawn --seeds 5"
    try:
        columns = (*arm.reads(),)
    except ValueError:
        return None
    if arm.learns:
        return LEARNERS[arm.learns[0]], "--data DATA --labels LABEL --seeds 5"
    if columns == ("image", "text"):
        return "clip", "--data PAIRS --seeds 5"
    return f'"ntxent,on={columns[0]}"', "--data PAIRS --tasks probe --seeds 5"


def _name_in(room: Registry, symbol: str) -> str | None:
    """Return the name under which a room has a symbol."""
    return next((name for name in room.names() if _reference(room, name) == symbol), None)


def _reference(room: Registry, name: str) -> str | None:
    try:
        return room.reference(name)
    except ValueError:  # a short name of another one
        return None


def measured(paper: catalog.Paper, evidence: Evidence) -> list[str]:
    """Return what was measured: the verdict first, then a row for each result."""
    machine = evidence.machine
    lines = [
        "## Measurements",
        "",
        f"**{evidence.verdict.capitalize()}**: {evidence.claim}",
        "",
        *declared(paper, evidence),
        *open_questions(evidence),
        *table(COLUMNS, map(row, evidence.results)),
        "",
        f"A result in brackets is reported but does not decide the verdict. `{evidence.command}` took "
        f"{evidence.seconds:,.0f} s on {machine.cores} cores, {machine.device} ({evidence.date}).",
        "",
    ]
    return [*lines, evidence.notes, ""]

"""A page for each method, all on one pattern, made of the registry, the docstring and the evidence.

A section for which there is nothing is left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from evidence_page import deciding, table
from limits import limits
from paper_page import compared, formula
from problems import answer

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.catalog.render import measured
from counterpoint.losses import LOSSES
from counterpoint.methods import METHODS
from counterpoint.methods._registry import SHORT
from counterpoint.methods.arm import Arm
from counterpoint.methods.options import required
from counterpoint.reasons import listing
from counterpoint.study.presets import PRESETS


def method_page(name: str) -> str:
    """Return the page of one method."""
    constructor = METHODS.get(name)
    lines = [f"# {name}", "", summary(name), ""]
    if name not in SHORT:
        lines += formula([METHODS.reference(name)], "Formula")
        lines += arguments(constructor)
    lines += ["## Inputs", "", inputs(name), ""]
    lines += section("When to use it", uses(name))
    lines += section("Relations", relations(name))
    lines += ["## Example", "", "```console", f"$ {example(name)}", "```", ""]
    return "\n".join(lines + section("What was measured", evidence(constructor.papers)))


def summary(name: str) -> str:
    """Return the first sentence of a method's docstring, with the papers it comes from."""
    papers = [f"[{slug}](../papers/{slug}.md)" for slug in METHODS.get(name).papers]
    return plain(METHODS.about(name)) + (
        f" {'Paper' if len(papers) == 1 else 'Papers'}: {listing(papers)}." if papers else ""
    )


def plain(text: str) -> str:
    """Write words of a docstring in Markdown: what stands outside of code has no markup."""
    parts = re.split(r"(``.*?``|`.*?`)", text)
    parts[::2] = [re.sub(r"[<$*\[]", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def section(title: str, items: Iterator[str]) -> list[str]:
    """Return the lines of a section with a list; none without items."""
    listed = [f"- {item}" for item in items]
    return [f"## {title}", "", *listed, ""] if listed else []


def arguments(constructor: type) -> list[str]:
    """Return a table of the options, as the docstring has them; none where it has none."""
    text = inspect.getdoc(constructor) or ""
    block = re.search(r"^Args:\n((?: {4}.*\n|\n)+)", text + "\n", re.MULTILINE)
    if block is None:
        return []
    described = re.findall(r"^ {4}([\w, ]+): ((?:.+\n)(?:(?: {8}.*)?\n)*)", block[1] + "\n", re.MULTILINE)
    rows = [
        (", ".join(f"`{name}`" for name in names.split(", ")), plain(" ".join(words.split())))
        for names, words in described
        if names not in {"towers", "recipe", "target", "towers, recipe", "options"}
    ]
    return ["## Options", "", *table(("option", "meaning"), rows), ""] if rows else []


def inputs(name: str) -> str:
    """Return a sentence on the columns and labels that a method takes."""
    arm = Arm.parse(name)
    needs = arm.kind.needs
    if name in LOSSES and METHODS.reference(name) == LOSSES.reference(name):
        said = "2 columns of any modality. With `on=COLUMN` two views of each example of one column."
    elif needs.modalities:
        said = f"A column of {' and one of '.join(needs.modalities)}."
    else:
        of = f"of the modality {needs.only}" if needs.only else "of any modality"
        count = needs._count().replace("column", f"column {of}", 1).replace(f"column {of}s", f"columns {of}")
        said = f"{count[:1].upper()}{count[1:]}."
        if needs.prefers:
            said += f" Without `columns=`, the column of {needs.prefers}."
        if needs.second:
            said += f" The second column is of {needs.second}."
    if arm.learns:
        said += f" A label ({listing([*arm.learns], 'or')}), named by `--labels`."
    if needed := required(METHODS.get(name)):
        said += f" The option {listing([f'`{option}`' for option in needed])} must be given."
    return f"{said} {'Rows that lack a column are used.' if arm.incomplete == 'use' else ''}".strip()


def uses(name: str) -> Iterator[str]:
    """Yield the problems whose comparison has the method as an arm, each with what was decided there."""
    for preset in PRESETS.values():
        if any(Arm.parse(arm).method == name and not Arm.parse(arm).options for arm in preset.arms):
            about = preset.about[:1].upper() + preset.about[1:].rstrip(".")
            about = re.sub(r"--[a-z-]+", r"`\g<0>`", about)  # as text, two dashes are printed as one long one
            command = f"counterpoint compare --preset {preset.name} --data DATA"
            yield f"{about}. Compare: `{command}`. Answer here: {answer(preset)}."


def relations(name: str) -> Iterator[str]:
    """Yield what the method is a case of, and what is a case of it."""
    family = METHODS.stated(name, "family")
    others = [
        other for other in METHODS.names() if other != name and METHODS.stated(other, "family") == family
    ]
    if family:
        yield f"Family: {family}" + (
            f", with {listing([_linked(other) for other in others])}" if others else ""
        )
    if name in SHORT:
        method, options = SHORT[name]
        yield f"Short for {_linked(method)} with {listing([f'`{key}={value}`' for key, value in options.items()])}"
    for short, (method, _) in SHORT.items():
        if method == name:
            yield f"{_linked(short)} is short for it with other options"
    for limit in limits():
        qualifier = f", {limit.qualifier}," if limit.qualifier else ""
        condition = f" ({limit.condition})" if limit.condition else " in a limit"
        if limit.name == name and limit.other != name:
            yield f"Reduces to {_linked(limit.other)}{qualifier}{condition}"
        elif limit.other == name and limit.name != name:
            yield f"{_linked(limit.name)} reduces to it{qualifier}{condition}"


def _linked(name: str) -> str:
    return f"[{name}]({name}.md)" if name in METHODS else f"`{name}`"


def example(name: str) -> str:
    """Return a command that compares the method with the plainest one that can do the same, or trains it."""
    arm = ",".join([name, *(f"{option}={option.upper()}" for option in required(METHODS.get(name)))])
    fair = compared(name)
    if fair is None or fair[0] in (name, arm):
        return f"counterpoint train {arm} --data DATA" + (" --labels LABEL" if Arm.parse(name).learns else "")
    return f"counterpoint compare {fair[0]} {arm} {fair[1]}"


def evidence(slugs: tuple[str, ...]) -> Iterator[str]:
    """Yield the verdict on each paper's claim with the first result that it rests on."""
    for slug in slugs:
        paper = catalog.paper(slug)
        if paper.evidence is not None:
            evidence = Evidence.read(paper.evidence)
            result = deciding(evidence)
            yield (
                f"[{slug}](../papers/{slug}.md): **{evidence.verdict}**. {plain(result.name)}: {measured(result)} "
                f"(`{evidence.command}`)"
            )


def method_index() -> str:
    """Return the page of all methods: a table for each family, and a hidden table of contents."""
    families: dict[str, list[str]] = {}
    for name in METHODS.names():
        families.setdefault(
            METHODS.stated(name, "family") or METHODS.stated(SHORT[name][0], "family"), []
        ).append(name)
    lines = [
        "# Methods",
        "",
        "`counterpoint list methods` prints this list. An option follows the name after a comma:",
    ]
    lines += ["`slip,ssl_weight=0.5`.", ""]
    for family, names in sorted(families.items()):
        rows = [(f"[{name}]({name}.md)", plain(METHODS.about(name))) for name in names]
        lines += [f"## {family[:1].upper()}{family[1:]}", "", *table(("method", "what it is"), rows), ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *METHODS.names(), "```", ""])

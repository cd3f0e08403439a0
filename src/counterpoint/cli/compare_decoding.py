"""counterpoint compare-decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..data.named import check_named
from ..forms import FORM, Count, FlatField
from ..reasons import counted
from ..study.decoding.design import DecodingDesign, check_names
from .common.arguments import parse
from .common.execution import Execution
from .common.files import FileOptions
from .common.study import Output, carry_out
from .common.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..study.decoding.cost import Estimate


@form(frozen=True, config=FORM)
class CompareDecodingOptions:
    """Ask one vision-language model the same questions, decoded by each method: does it help, and what does it cost?

    Plain sampling, and each method's plausibility rule with contrast 0, come by themselves.
    """

    study: Annotated[DecodingDesign, FlatField()]
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    batch_size: Count = 16
    """Prompts that are decoded at once."""
    execution: Annotated[Execution, FlatField()] = field(default_factory=Execution)
    output: Annotated[Output, FlatField()] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    options = parse(CompareDecodingOptions, arguments, "compare-decoding")
    where, executor = options.execution, options.execution.chosen
    design = replace(options.study, data=options.files.of(options.study.data or None) or "")
    check_named(design.data)
    check_names(design)  # before torch is loaded, so that a typo is answered at once
    console = Terminal(stderr=options.output.json)
    with console.status("loading torch"):
        from ..study.decoding.study import conduct

    def show_cost(design: DecodingDesign, costs: Mapping[str, Estimate]) -> None:
        console.print(cost_table(design, costs))

    conducted = partial(
        conduct,
        design,
        batch_size=options.batch_size,
        jobs=where.jobs or 1,
        executor=executor,
        needs=where.needs,
    )
    carry_out(console, options.output, conducted, show_cost)
    return 0


def cost_table(design: DecodingDesign, costs: Mapping[str, Estimate]) -> Table:
    """Return a table of what every arm has left to do, and of the time and cost of that."""
    from rich.table import Table

    from ..study.decoding.tables import times

    total = sum(cost.seconds for cost in costs.values())
    table = Table(
        title=f"{counted(len(design.roles), 'arm')} × {counted(len(design.seeds), 'seed')} × "
        f"{counted(len(design.tasks), 'task')} "
        f"({', '.join(design.tasks)}): about {total / 60:.1f} min left",
        title_justify="left",
        caption="measured on this machine on a few rows; what is finished is not repeated",
        caption_justify="left",
    )
    for heading in ("arm", "is", "units left", "forward passes per token", "minutes"):
        table.add_column(heading, justify="left" if heading in {"arm", "is"} else "right")
    for arm, role in design.roles.items():
        cost = costs.get(arm)
        cells = ["0", "", ""]
        if cost is not None:
            cells = [str(cost.units), times(cost.relative_passes), f"{cost.seconds / 60:.1f}"]
        table.add_row(arm, {"plain": "baseline", "rule": "rule alone", "method": "method"}[role], *cells)
    return table

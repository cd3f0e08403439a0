"""counterpoint embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..data.named import check_named
from ..execution import WorkHandover
from ..forms import FORM, Count, FlatField, Names, OutFolder, Positional
from ..reasons import counted
from .common.arguments import parse
from .common.execution import Execution
from .common.files import FileOptions, guesses
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class EmbedOptions:
    """Embed the rows of a data set into a folder of Parquet files; the same command goes on where it stopped."""

    model: Annotated[str, Positional()]
    """A run folder; open_clip:NAME@TAG, transformers:PATH, sentence-transformers:PATH, timm:NAME@hub."""
    data: Annotated[str, Positional()]
    """A data set (see: counterpoint train --help); a folder of pictures without captions too."""
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    out: OutFolder = Path("vectors")
    """The folder of the vectors."""
    modality: Names = ()
    """Columns to embed; all that the model can unless given."""
    dtype: Literal["float32", "float16"] = "float32"
    """Numbers that are written."""
    precision: Literal["32", "bf16-mixed"] = "32"
    """Numbers that are computed with; on a GPU bf16-mixed is faster and less exact."""
    batch_size: Count | None = None
    """Rows at a time; found by trial unless given, and halved where memory is used up."""
    limit: Count | None = None
    """Embed so many rows, the first ones."""
    execution: Annotated[Execution, FlatField()] = field(default_factory=Execution)


def main(arguments: Sequence[str]) -> int:
    options = parse(EmbedOptions, arguments, "embed")
    where, executor = options.execution, options.execution.chosen

    source = options.files.of(options.data)
    check_named(source)
    console = Terminal()
    with console.status("loading torch"):
        from .. import models
        from ..data.source import load_any
        from ..serving import embed
        from ..training.sharing.distributed import device_of
    from .common.progress import WorkProgress

    models.kind_of(options.model)  # before anything is loaded
    with console.status(f"loading {options.model}"):
        model = models.load(options.model).to(device_of("auto"))
    data = load_any(source, inputs=model.inputs)
    findings = data.findings()
    for line in guesses(findings):
        console.print(line, soft_wrap=True)
    for line in left_out(findings):
        console.print(f"! {line}", style="yellow", soft_wrap=True)
    with WorkProgress(console) as progress:
        try:
            vectors = embed(
                model,
                source,
                options.out,
                modalities=options.modality,
                dtype=options.dtype,
                precision=options.precision,
                batch_size=options.batch_size,
                limit=options.limit,
                jobs=where.jobs or 1,
                executor=executor,
                needs=where.needs,
                listener=progress,
            )
        except WorkHandover as handed:
            console.print(str(handed), soft_wrap=True)
            return 0
    kinds = " and ".join(vectors.about.modalities)
    console.print(
        f"{counted(len(vectors), 'vector')} ({kinds}) of {vectors.about.width} numbers: {options.out}",
        soft_wrap=True,
    )
    return 0


def left_out(findings: Mapping[str, str]) -> list[str]:
    """Return what was lost of the data, and the file that lists it, as lines; nothing where all was read."""
    mark = "lost: "
    lost = [
        f"left out: {title.removeprefix(mark)} {line}"
        for title, line in findings.items()
        if title.startswith(mark)
    ]
    return [*lost, f"all that was left out: {findings['all that was left out']}"] if lost else []

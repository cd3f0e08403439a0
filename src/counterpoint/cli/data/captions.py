"""counterpoint data captions: captions for pictures, chosen among queries or written by a captioner."""

from __future__ import annotations

import shlex

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, Folder, Positive, Seed, Share
from ...reasons import counted
from ..common.terminal import Terminal
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class CaptionsOptions(DatasetOptions):
    """Write captions of the pictures of a data set, in the style of a captioner or of queries, for --data.

    With --queries the pictures get the texts that are most similar to them; without, the model writes. The same command
    goes on where it was stopped.
    """

    out: Folder = None
    """Folder of the captions."""
    model: str = ""
    """A run whose model embeds pictures and texts; without --queries one that writes captions, as coca does."""
    queries: str = ""
    """Data whose texts to train on are given to the pictures."""
    judge: str = ""
    """A run whose similarities decide which captions stay; --model unless given."""
    keep: Share = 0.5
    """Share of the captions that stays, the most similar ones."""
    uses: Count = 1
    """Most queries that a picture gets."""
    top_p: Share = 0.9
    """Captions are sampled from the likeliest tokens that together have this probability."""
    temperature: Positive = 1.0
    """Temperature of the sampling."""
    seed: Seed = 0
    """Seed of the sampling."""


def main(options: CaptionsOptions) -> int:
    from ..common.progress import counting

    console = Terminal()
    if options.out is None:
        raise ValueError("where to? For example: --out captioned")
    if not options.model:
        raise ValueError(
            "--model is missing: the run of a captioner, as of coca, or with --queries of any pair"
        )
    named, total = options.named, 0
    with console.status("loading"):
        from ...models import load
        from ...study.captions import caption_pictures, match_queries
        from ...types import Captioner

        model = load(options.model)
        judge = load(options.judge) if options.judge else model
    with counting(console, "pictures") as notify:

        def on_rows(count: int) -> None:
            nonlocal total
            total += count
            notify(total, total)

        if options.queries:
            count = match_queries(
                model,
                named,
                options.queries,
                options.out,
                name=options.model,
                uses=options.uses,
                keep=options.keep,
                on_rows=on_rows,
            )
        else:
            if not isinstance(model, Captioner):
                raise ValueError(
                    f"{options.model} writes no captions: train coca or cappa, or give texts with --queries"
                )
            count = caption_pictures(
                model,
                named,
                options.out,
                name=options.model,
                judge=judge,
                judged_by=options.judge or options.model,
                keep=options.keep,
                top_p=options.top_p,
                temperature=options.temperature,
                seed=options.seed,
                on_rows=on_rows,
            )
    console.print(
        f"{counted(count, 'caption')}; train on them with --data {shlex.quote(str(options.out))}",
        soft_wrap=True,
    )
    return 0

"""In-Style: captions in the style of queries, written for other pictures, teach a pair to understand such queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoint.study.captions import caption_pictures, match_queries
from counterpoint.training.start import load
from counterpoint.types import Captioner

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "From queries in another style and pictures that have no captions, a captioner learns that style; a pair that is "
    "tuned on the captions that it writes for the pictures finds more of them by such queries, by 0.05 in R@1, than "
    "one that is tuned for as long on captions of the same pictures in the style that the captioner began with."
)
REFUTED = "captions in the old style do as well"
DELTA = effects.convention("share", of=5, reason="the card has no figure of the paper; chosen before the run")

BASE, TUNED = "as it was", "tuned"
STEPS, STYLED, TUNING = 1000, 200, 200
KEEP, RATE = 0.5, 5e-4
WORLD = (
    "scenes:basic,objects=2-2,tinted=1,sizes=medium,relations=0,pixels=48,validation=64,"
    "concepts=cat+dog+pig+fish+apple+banana+car+bus+key+guitar+hat+tree"
)
QUERIES, POOL = f"{WORLD},terse=1,seed=2,train=4000,test=64", f"{WORLD},terse=1,seed=1,train=4000,test=1000"
"""Data of which the texts alone are used, and data whose texts to train on are not used."""
START = TrainingComparison(
    {BASE: "coca"},
    {"retrieval": ("t2i_R@1",)},
    data=f"{WORLD},train=4000,test=500",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 64,
        "towers.image_size": 48,
        "augmentation.paired": "plain",
    },
    seeds=(0,),
)


def tuned(base: Path) -> dict[str, str]:
    """Return the arms, which go on from one run, the second without its loss of captions."""
    return {BASE: f'coca,from="{base}",tune=none', TUNED: f'coca,from="{base}",captioning=0'}


COMPARISON = replace(
    START,
    arms=tuned(Path("runs/start")),
    changes={**START.changes, "steps": TUNING, "validate_every": TUNING, "optimizer.lr": RATE},
    seeds=10,
)


def run(lab: Lab) -> Iterator[Result]:
    base = lab.study(START, "start").folder(BASE, 0)
    pool, queries = lab.world(POOL), lab.world(QUERIES)
    pseudo, styled, plain = (str(lab.folder / name) for name in ("pseudo pairs", "new style", "old style"))
    match_queries(load(base), pool, queries, Path(pseudo), name=BASE, keep=KEEP)
    style = replace(
        COMPARISON,
        arms={"captioner": f'coca,from="{base}",contrast=0'},
        data=pseudo,
        changes={**COMPARISON.changes, "steps": STYLED, "validate_every": STYLED},
        seeds=(0,),
    )
    writers = {styled: lab.study(style, "style").folder("captioner", 0), plain: base}
    for folder, writer in writers.items():
        caption_pictures(
            captioner(writer),
            pool,
            Path(folder),
            name=writer.name,
            judge=load(base),
            judged_by=BASE,
            keep=KEEP,
        )
    found = {
        folder: lab.study(
            replace(COMPARISON, arms=tuned(base), data=folder), f"on {Path(folder).name}"
        ).scores("retrieval t2i_R@1")
        for folder in (pseudo, styled, plain)
    }
    yield from decides(
        above(
            found[styled][TUNED] - found[plain][TUNED],
            name="1: R@1, captions in the new style − old",
            **DELTA,
        )
    )
    yield from secondary(
        above(
            found[styled][TUNED] - found[pseudo][TUNED],
            name="2: R@1, captions in the new style − pseudo pairs",
        ),
        above(found[plain][TUNED] - found[plain][BASE], name="3: R@1, captions in the old style − no tuning"),
    )
    lab.note(
        f"coca, {STEPS} steps on captions of {WORLD}, is the start of everything. Queries are lists of key words",
        "(terse=1). Of 4,000 queries and 4,000 other pictures the half of the pairs with the largest cosines tunes",
        f"the captioner for {STYLED} steps; then it writes a caption of each picture, and the half that fits best",
        f"tunes the pair for {TUNING} steps at {RATE}. R@1 of pictures by held-out queries: pseudo pairs",
        f"{found[pseudo].means()}; new style {found[styled].means()}; old style {found[plain].means()}.",
    )


def captioner(folder: Path) -> Captioner:
    """Return the model of a run that writes captions."""
    model = load(folder)
    assert isinstance(model, Captioner)
    return model

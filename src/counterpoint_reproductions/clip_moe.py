"""CLIP-MoE: experts that were trained within clusters retrieve better than experts that are copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "From one CLIP, a mixture whose experts were trained one after another within clusters of what the earlier ones "
    "find alike retrieves captions better than a mixture of copies that were trained together for as many steps."
)
REFUTED = "copies retrieve captions as well"

CLUSTERS, COPIES, DENSE = "experts from clusters", "copies", "dense"
STEPS = 400
BASE = TrainingComparison(
    {"CLIP": "clip,image=vit"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:basic,train=6000,validation=64,test=4000",
    recipe="cpu-dense",
    changes={"steps": STEPS, "validate_every": STEPS, "towers.image_size": 48},
)


def on(run: Path) -> dict[str, str]:
    """Return the arms, which go on from the run of the same seed."""
    moe = f'clip-moe,experts=3,from="{run}"'
    return {COPIES: f"{moe},source=copies", DENSE: f'clip,from="{run}"', CLUSTERS: moe}


COMPARISON = replace(
    BASE,
    arms=on(Path("runs/base/seed-{seed}")),
    tasks={"retrieval": ("i2t_R@1", "t2i_R@1")},
)


def run(lab: Lab) -> Iterator[Result]:
    base = lab.study(BASE, "base")
    study = lab.study(replace(COMPARISON, arms=on(base.each("CLIP"))))
    captions, pictures = (study.scores(f"retrieval {metric}") for metric in ("i2t_R@1", "t2i_R@1"))
    yield from decides(
        above(
            captions[CLUSTERS] - captions[COPIES],
            name="R@1 of captions, experts from clusters − copies",
            **effects.convention("share", reason="the paper's figures could not be verified"),
        )
    )
    yield from secondary(
        above(pictures[CLUSTERS] - pictures[COPIES], name="R@1 of pictures, experts from clusters − copies"),
        above(captions[CLUSTERS] - captions[DENSE], name="R@1 of captions, experts from clusters − dense"),
    )
    lab.note(
        f"The registered method on {BASE.data} under the recipe cpu-dense at 48 px, {STEPS} steps from a CLIP run of",
        f"{STEPS} steps with the same seed: three experts, of which two serve a token. Dense is plain CLIP that goes",
        f"on for as many steps with all its weights. R@1 of captions: {captions.means()}; of the CLIP runs:",
        f"{base.scores('retrieval i2t_R@1').means()}.",
    )

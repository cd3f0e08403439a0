"""CLIP-rocket: do extra losses still help once plain CLIP has the improved recipe?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from .lab import (
    Lab,
    Result,
    Score,
    TrainedScores,
    TrainedStudy,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    secondary,
)

CLAIM = (
    "The improved recipe gains CLIP more than any of four extra losses does, the best extra loss's advantage "
    "over CLIP shrinks from the basic to the improved recipe, and augmentations bring most of the recipe's "
    "gain."
)
REFUTED = (
    "under the improved recipe an extra loss keeps an advantage as big as under the basic one, or heads, "
    "temperature and smoothing bring more than the augmentations"
)
SHARE = effects.convention("share")


STEPS, BATCH, SIZE = 120, 128, 32
LOSSES = ("siamlip", "byolip", "barlip", "swalip")
BASIC = {
    "clip": "clip-rocket,improved=false,views=2",
    "siamlip": "siamlip,views=2",
    "byolip": "byolip,views=2",
    "barlip": "barlip,views=2",
    "swalip": f"swalip,views=2,frozen_steps={STEPS // 15}",
}
"""Three weak views a side, as many as the improved recipe has, and the extra loss on all of their pairs."""
IMPROVED = {"clip": "clip-rocket", **{loss: f"{loss}-rocket" for loss in LOSSES}}
_SHARED = "separate_proj=false,smoothing=0,reduction=mean"
ABLATION = {
    "basic": BASIC["clip"],
    "+ image augmentation": f"clip-rocket,{_SHARED},global_text=plain,local_text=plain",
    "+ text augmentation": f"clip-rocket,{_SHARED}",
    "+ separate heads and temperature": "clip-rocket,smoothing=0,reduction=mean",
    "+ smoothing and sum": "clip-rocket",
}
"""From the basic to the improved recipe, each step on top of the ones before."""
AUGMENTED = "+ text augmentation"
"""The step of the ablation that has all the augmentations and nothing else."""
COMPARISON = TrainingComparison(
    arms={
        **{f"basic/{loss}": arm for loss, arm in BASIC.items()},
        **{f"improved/{loss}": arm for loss, arm in IMPROVED.items()},
        "basic/best": BASIC[LOSSES[0]],
        "improved/best": IMPROVED[LOSSES[0]],
        **ABLATION,
    },
    tasks={"retrieval": ("i2t_R@1",), "zero_shot": ("group_top1",)},
    candidates={
        "basic/best": tuple(BASIC[loss] for loss in LOSSES),
        "improved/best": tuple(IMPROVED[loss] for loss in LOSSES),
    },
    data="emoji",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "batch_size": BATCH,
        "validate_every": STEPS,
        "optimizer.clip_norm": 0.0,
        "towers.image_size": SIZE,
    },
)
PLAIN = "clip"
"""CLIP with one view a side."""
EQUAL_PASSES = replace(
    COMPARISON,
    arms={PLAIN: PLAIN, **{name: COMPARISON.arms[name] for name in ("basic/byolip", "improved/byolip")}},
    steps={PLAIN: 3 * STEPS, "basic/byolip": STEPS // 2, "improved/byolip": STEPS // 2},
    candidates={},
)
"""Arms that make as many image passes as the others in other steps: BYOLIP's momentum copy doubles them, one view takes
a third."""
Number = tuple[str, str, str]
"""Metric of a task, test set and subset."""
PRIMARY: Number = ("retrieval i2t_R@1", "compositions", "all")
SECONDARY: tuple[Number, ...] = (
    ("retrieval i2t_R@1", "compositions", "rest"),
    ("retrieval i2t_R@1", "compositions", "tone variants"),
    ("retrieval i2t_R@10", "concepts", "all"),
    ("zero_shot group_top1", "concepts", "all"),
)
TONE: Number = ("zero_shot tone_top1", "compositions", "all")

Scored = Callable[[str], Score]
"""From an arm's name to its score."""


def advantage(score: Scored, kind: str) -> Score:
    """Return the best of the extra losses minus CLIP; validation under a seed that is not tested chose it."""
    return score(f"{kind}/best") - score(f"{kind}/clip")


def gain(score: Scored) -> Score:
    """Return the gain of CLIP by the improved recipe."""
    return score("improved/clip") - score("basic/clip")


def run(lab: Lab) -> Iterator[Result]:
    equal_steps = lab.study(COMPARISON, "equal-steps")
    equal_passes = lab.study(EQUAL_PASSES, "equal-passes")
    scores, passes = (study.scores(*PRIMARY) for study in (equal_steps, equal_passes))

    def matched(name: str) -> Score:
        return passes[name] if name in EQUAL_PASSES.arms else scores[name]

    yield from decides(*interaction(scores.__getitem__, "equal steps"), augmentations(scores))
    yield from secondary(
        *parts(scores.__getitem__, "equal steps"),
        *(above(scores[after] - scores[before], name=f"2: {after}") for before, after in pairwise(ABLATION)),
        *interaction(matched, "equal image passes"),
        *parts(matched, "equal image passes"),
        *(
            above(
                scores[arm] - passes[PLAIN],
                name=f"1, equal image passes: {name} − CLIP of one view, three times the steps",
            )
            for name, arm in (("CLIP under the improved recipe", "improved/clip"), ("basic", "basic/clip"))
        ),
    )
    for number in SECONDARY:
        other = equal_steps.scores(*number)
        yield from secondary(*interaction(other.__getitem__, "equal steps"), augmentations(other))
    yield from secondary(
        below(
            gain(equal_steps.scores(*TONE).__getitem__),
            name="skin tone, which colour jitter and greyscale harm: CLIP improved − basic",
        )
    )
    lab.note(
        f"Built-in towers at {SIZE} px, {STEPS} steps at batch {BATCH}, one learning rate for all arms, no",
        "gradient clipping. Basic has three weak views a side, so that the extra losses see as many",
        "pairs; with equal steps all arms make three image passes a step, BYOLIP six. The prototypes of",
        f"basic SwALIP are frozen for the first {STEPS // 15} steps (the paper's 100 would be most of",
        "this run). BYOLIP's momentum (0.99) and the loss weights are the paper's; heads are as narrow",
        "as the cpu recipe says. All scores are of the global head. The best of the four losses is",
        f"chosen on validation: {equal_steps.arms['basic/best']} and {equal_steps.arms['improved/best']}.",
        f"{scores.metric} at equal steps: {scores.means()}. Runs that diverged:",
        f"{'; '.join([*failed(equal_steps), *failed(equal_passes)]) or 'none'}.",
    )


def interaction(score: Scored, budget: str) -> Iterator[Result]:
    """Judge what the recipe takes from the extra losses, and what it gives."""
    yield above(
        advantage(score, "basic") - advantage(score, "improved"),
        name=f"1, {budget}: best extra loss − CLIP: basic − improved",
        **SHARE,
    )
    yield above(
        gain(score) - advantage(score, "basic"),
        name=f"1, {budget}: gain of the recipe for CLIP − gain of the best extra loss under basic",
        **SHARE,
    )


def parts(score: Scored, budget: str) -> Iterator[Result]:
    """Judge each recipe and each extra loss by itself."""
    yield above(gain(score), name=f"1, {budget}: gain of the recipe for CLIP")
    for kind, judge in (("basic", above), ("improved", below)):
        yield judge(advantage(score, kind), name=f"1, {budget}: best extra loss − CLIP, {kind}")
        for loss in LOSSES:
            yield judge(
                score(f"{kind}/{loss}") - score(f"{kind}/clip"), name=f"1, {budget}: {loss} − clip, {kind}"
            )


def augmentations(scores: TrainedScores) -> Result:
    """Judge the gain of the augmentations beside that of the rest of the recipe."""
    basic, full = scores["basic"], scores["+ smoothing and sum"]
    return above(
        (scores[AUGMENTED] - basic) - (full - scores[AUGMENTED]),
        name="2: gain of the augmentations − gain of heads, temperature and smoothing",
        **SHARE,
    )


def failed(study: TrainedStudy) -> list[str]:
    """Return the runs that diverged."""
    return [f"{arm}, seed {seed}" for arm, seed, run in study.results.each() if run.scored is None]

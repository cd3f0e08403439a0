"""CLIP-rocket: do extra losses still help once plain CLIP has the improved recipe?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from ...catalog.evidence import Direction, Result
from ...study.numbers import name_of
from ...study.schema import Key
from ..benches.towers import recipe
from ..lab import Comparison, Lab, Trained, measure

CLAIM = (
    "The improved recipe gains CLIP more than any of four extra losses does, the best extra loss's advantage "
    "over CLIP shrinks from the basic to the improved recipe, and augmentations bring most of the recipe's "
    "gain."
)
REFUTED = (
    "under the improved recipe an extra loss keeps an advantage as big as under the basic one, or heads, "
    "temperature and smoothing bring more than the augmentations"
)


SEEDS, STEPS, BATCH, SIZE = 5, 120, 128, 32
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
PLAIN = "clip"
"""CLIP with one view a side."""
TASKS = {"retrieval": ("i2t_R@1",), "zero_shot": ("group_top1",)}
PRIMARY: Key = ("retrieval", "compositions", "all", "i2t_R@1")
SECONDARY: tuple[Key, ...] = (
    ("retrieval", "compositions", "rest", "i2t_R@1"),
    ("retrieval", "compositions", "tone variants", "i2t_R@1"),
    ("retrieval", "concepts", "all", "i2t_R@10"),
    ("zero_shot", "concepts", "all", "group_top1"),
)
TONE: Key = ("zero_shot", "compositions", "all", "tone_top1")

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """Outcomes of every arm, by what the arm is called here: ``basic/siamlip``, ``improved/clip``, …"""

    arms: Mapping[str, Mapping[int, np.ndarray | None]]

    @classmethod
    def of(cls, key: Key, named: Mapping[str, tuple[Trained, str]]) -> Table:
        cache = {id(results): results.outcomes(key) for results, _ in named.values()}
        return cls({name: cache[id(results)][arm] for name, (results, arm) in named.items()})


def advantage(scores: Scores, recipe: str) -> float:
    """Return the best of the extra losses minus CLIP; chosen again at every call."""
    clip = f"{recipe}/clip"
    return (
        max(score for arm, score in scores.items() if arm.startswith(f"{recipe}/") and arm != clip)
        - scores[clip]
    )


def gain(scores: Scores) -> float:
    """Return the gain of CLIP by the improved recipe."""
    return scores["improved/clip"] - scores["basic/clip"]


def run(lab: Lab) -> Sequence[Result]:
    steps = 2 if lab.quick else STEPS
    settings = recipe(
        lab.quick,
        steps=steps,
        batch_size=BATCH,
        validate_every=STEPS,
        optimizer__clip_norm=0.0,
        towers__image_size=SIZE,
    )
    losses = ("clip", "siamlip") if lab.quick else ("clip", *LOSSES)
    rows = {"basic": BASIC, "improved": IMPROVED}
    ablation = [ABLATION[name] for name in _parts(lab.quick)]
    compared = {f"{kind}/{loss}": row[loss] for kind, row in rows.items() for loss in losses}
    arms = dict.fromkeys([*compared.values(), *ablation])
    compare = partial(Comparison, tasks=TASKS, data="emoji", recipe=settings, seeds=SEEDS)
    equal_steps = lab.study(compare({arm: arm for arm in arms}), "equal-steps")
    # BYOLIP's momentum copy doubles its passes, one view takes a third: these make the image passes equal.
    other = {PLAIN: 3 * steps}
    if "byolip" in losses:
        other |= dict.fromkeys((BASIC["byolip"], IMPROVED["byolip"]), steps // 2)
    equal_passes = lab.study(compare({arm: arm for arm in other}, steps=other), "equal-passes")
    grid = {name: (equal_steps, arm) for name, arm in compared.items()}
    matched = {
        name: (equal_passes if arm in other else results, arm) for name, (results, arm) in grid.items()
    }
    results = _interaction(PRIMARY, Table.of(PRIMARY, grid), "equal steps", decides=True)
    results += _ablation(PRIMARY, equal_steps, _parts(lab.quick), decides=True)
    results += _interaction(PRIMARY, Table.of(PRIMARY, matched), "equal image passes", decides=False)
    results += _plain(PRIMARY, grid, equal_passes)
    for key in () if lab.quick else SECONDARY:
        results += _interaction(key, Table.of(key, grid), "equal steps", decides=False)
        results += _ablation(key, equal_steps, _parts(lab.quick), decides=False)
    results += _tone(Table.of(TONE, grid))
    _notes(lab, steps, equal_steps, equal_passes)
    return results


def _interaction(key: Key, table: Table, budget: str, *, decides: bool) -> list[Result]:
    def of(name: str, function: object, expected: Direction, decides: bool) -> Result:
        return measure.of_arms(
            f"1, {budget}: {name}",
            name_of(key),
            table.arms,
            function,  # type: ignore[arg-type] # one of the functions below
            expected=expected,
            decides=decides,
        )

    found = [
        of(
            "best extra loss − CLIP: basic − improved",
            lambda s: advantage(s, "basic") - advantage(s, "improved"),
            "above",
            decides,
        ),
        of(
            "gain of the recipe for CLIP − gain of the best extra loss under basic",
            lambda s: gain(s) - advantage(s, "basic"),
            "above",
            decides,
        ),
    ]
    if key == PRIMARY:
        found += [
            of("gain of the recipe for CLIP", gain, "above", False),
            of("best extra loss − CLIP, basic", lambda s: advantage(s, "basic"), "above", False),
            of("best extra loss − CLIP, improved", lambda s: advantage(s, "improved"), "below", False),
        ]
        for name, outcomes in table.arms.items():
            kind, _, loss = name.partition("/")
            if loss != "clip":
                found.append(
                    measure.difference(
                        f"1, {budget}: {loss} − clip, {kind}",
                        name_of(key),
                        outcomes,
                        table.arms[f"{kind}/clip"],
                        expected="above" if kind == "basic" else "below",
                        decides=False,
                    )
                )
    return found


def _parts(quick: bool) -> list[str]:
    """Return the steps of the ablation; a smoke run has only those that the contrast needs."""
    names = list(ABLATION)
    return [names[0], AUGMENTED, names[-1]] if quick else names


def _ablation(key: Key, results: Trained, names: Sequence[str], *, decides: bool) -> list[Result]:
    outcomes = results.outcomes(key)
    arms = {name: outcomes[ABLATION[name]] for name in names}
    basic, augmented, full = names[0], AUGMENTED, names[-1]
    found = [
        measure.of_arms(
            "2: gain of the augmentations − gain of heads, temperature and smoothing",
            name_of(key),
            arms,
            lambda s: (s[augmented] - s[basic]) - (s[full] - s[augmented]),
            expected="above",
            decides=decides,
        )
    ]
    if key == PRIMARY:
        for before, after in pairwise(names):
            found.append(
                measure.difference(
                    f"2: {after}", name_of(key), arms[after], arms[before], expected="above", decides=False
                )
            )
    return found


def _plain(key: Key, grid: Mapping[str, tuple[Trained, str]], equal_passes: Trained) -> list[Result]:
    """Compare with CLIP with one view a side, trained three times as long: as many passes as the improved recipe."""
    table = Table.of(key, {**grid, "plain": (equal_passes, PLAIN)})
    return [
        measure.difference(
            f"1, equal image passes: {name} − CLIP of one view, three times the steps",
            name_of(key),
            table.arms[arm],
            table.arms["plain"],
            expected="above",
            decides=False,
        )
        for name, arm in (("CLIP under the improved recipe", "improved/clip"), ("basic", "basic/clip"))
    ]


def _tone(table: Table) -> list[Result]:
    return [
        measure.difference(
            "skin tone, which colour jitter and greyscale harm: CLIP improved − basic",
            name_of(TONE),
            table.arms["improved/clip"],
            table.arms["basic/clip"],
            expected="below",
            decides=False,
        )
    ]


def _notes(lab: Lab, steps: int, *studies: Trained) -> None:
    levels = [
        f"{arm} {np.mean([run.mean() for run in runs.values() if run is not None]):.3f}"
        for arm, runs in studies[0].outcomes(PRIMARY).items()
        if any(run is not None for run in runs.values())
    ]
    failed = [
        f"{arm}, seed {seed}"
        for study in studies
        for arm, runs in study.results.runs.items()
        for seed, one in runs.items()
        if one.scored is None
    ]
    lab.note(
        f"Built-in towers at {SIZE} px, {steps} steps at batch {BATCH}, one learning rate for all arms, no",
        "gradient clipping. Basic has three weak views a side, so that the extra losses see as many",
        "pairs; with equal steps all arms make three image passes a step, BYOLIP six. The prototypes of",
        f"basic SwALIP are frozen for the first {STEPS // 15} steps (the paper's 100 would be most of",
        "this run). BYOLIP's momentum (0.99) and the loss weights are the paper's; heads are as narrow",
        "as the cpu recipe says. All scores are of the global head. The best of the four losses is",
        "chosen again in every resample; its selection is partly luck, which flatters the extra losses",
        f"under both recipes. {name_of(PRIMARY)} at equal steps: {', '.join(levels)}. Runs that diverged:",
        f"{'; '.join(failed) if failed else 'none'}.",
    )

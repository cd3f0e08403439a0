"""JigClu: telling patches apart by picture and by place is better than either, and worth its pixels."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Patches that are told apart both by picture and by their place in it give better features than either alone; at "
    "equal pixels through the tower they are better than NT-Xent's two views."
)
REFUTED = "one of the two terms is as good alone, or NT-Xent is as good at equal pixels"
SHARE = effects.convention("share")
GAIN = effects.reported(
    63.8,
    66.4,
    "ImageNet linear top-1, previous single-batch best (66.4 less the 2.6 reported) against JigClu",
    unit=0.01,
)

STEPS, BATCH = 300, 128
BOTH, CLUSTERING, LOCATION, VIEWS = "JigClu", "clustering alone", "location alone", "NT-Xent"
COMPARISON = TrainingComparison(
    {
        BOTH: "jigclu",
        CLUSTERING: "jigclu,location=0",
        LOCATION: "jigclu,clustering=0",
        VIEWS: "ntxent,on=images",
    },
    {"probe": ("logistic_*_top1", "knn_*_top1")},
    data="emoji",
    recipe="cpu",
    changes={"batch_size": BATCH, "steps": STEPS, "validate_every": STEPS},
    steps={VIEWS: STEPS // 2},
    budget="passes",
)
"""A picture is one montage or two views, so that NT-Xent takes half of the steps."""


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    linear, nearest = (
        study.scores(f"probe {classifier}_subgroup_top1", "concepts") for classifier in ("logistic", "knn")
    )
    yield from decides(
        above(linear[BOTH] - linear[CLUSTERING], name="1: probe, both − clustering alone", **SHARE),
        above(linear[BOTH] - linear[LOCATION], name="1: probe, both − location alone", **SHARE),
        above(linear[BOTH] - linear[VIEWS], name="2: probe at equal pixels, JigClu − NT-Xent", **GAIN),
    )
    yield from secondary(
        above(linear[CLUSTERING] - linear[LOCATION], name="1: probe, clustering alone − location alone"),
        above(nearest[BOTH] - nearest[CLUSTERING], name="1: k-NN, both − clustering alone"),
        above(nearest[BOTH] - nearest[LOCATION], name="1: k-NN, both − location alone"),
        above(nearest[BOTH] - nearest[VIEWS], name="2: k-NN at equal pixels, JigClu − NT-Xent"),
    )
    lab.note(
        f"The registered methods on emoji of 48 px under the recipe cpu: batch {BATCH}, {STEPS} steps of one montage a",
        f"picture, or {COMPARISON.steps[VIEWS]} of two views. A probe of the subgroup of emoji of concepts that",
        f"training has nothing of decides: {linear.means()}; k-NN: {nearest.means()}.",
    )

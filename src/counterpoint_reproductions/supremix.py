"""SupReMix: do embeddings that learn numbers lie in the order of the numbers?"""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "Contrast on numbers, with mixtures as hard negatives and as positives from either side, and negatives weighted by "
    "distance, brings pictures of scenes into the order of how many things they show, more than supervised contrast "
    "with the numbers as classes."
)
REFUTED = "distances of embeddings follow the distance of counts no better than with the numbers as classes"
ORDER = effects.convention("correlation")

STEPS = 500
TAU = 0.1
NUMBERS = f"supremix,on=images,labels=number,temperature={TAU}"
BINS, WHOLE = "SupCon on the numbers as classes", "SupReMix"
COMPARISON = TrainingComparison(
    {
        BINS: f"supcon,on=images,labels=count,temperature={TAU}",
        "regression by L1": "l1,labels=number",
        "no mixtures and no weights": f"{NUMBERS},share=0,mixes=0,weight=0",
        "no hard negatives": f"{NUMBERS},share=0",
        "no mixed positives": f"{NUMBERS},mixes=0",
        "no weights": f"{NUMBERS},weight=0",
        WHOLE: NUMBERS,
    },
    {"regression": ("number_ordinality", "ridge_number_mae")},
    data="scenes:counts,train=10000,validation=500,test=1000",
    recipe="cpu",
    changes={"batch_size": 64, "steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    order = study.scores("regression number_ordinality")
    error = study.scores("regression ridge_number_mae")
    parts = [name for name in COMPARISON.arms if name not in (BINS, WHOLE)]
    yield from decides(above(order[WHOLE] - order[BINS], **ORDER))
    yield from secondary(
        below(error[WHOLE] - error[BINS]),
        *(above(order[WHOLE] - order[arm]) for arm in parts),
        *(below(error[WHOLE] - error[arm]) for arm in parts),
    )
    lab.note(
        "Scenes of 0 to 10 emoji at 48 px, counted by the built-in convolutional network from random weights;",
        f"{STEPS} steps of 64 pictures, two views each, τ = {TAU:g}. The features under the perceptron are judged:",
        "order is the mean over pictures of the rank correlation of distances to others with differences of counts,",
        f"{order.means()}; mean absolute error of a ridge regression, {error.means()}. Counts are whole, so that the",
        "classes lose nothing but their order; the paper has ages and many values. Rank-N-Contrast, a stronger",
        "baseline, is not built.",
    )

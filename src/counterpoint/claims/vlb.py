"""VLB: questions asked anew about changed pictures are harder, the more so the more operators make them harder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..catalog.evidence import Result
from ..data.items import Bootstraps
from ..evaluation.answering.bootstrapped import CONTROL, SINGLE, VANILLA, VARIANTS, VLB, bootstrap
from ..evaluation.contamination import contamination
from . import measure
from .asked import SmallVQA, asked, tower, train, world_of
from .claim import Arrays, Claim, Lab
from .measure import Rule
from .small import pixels

WORLD = "scenes:tiny,sizes=small+medium+large,tinted=1"
SEEDS, STEPS, BATCH, LR = 5, 1200, 128, 1e-3
TRAINED, TESTED = 6000, 700
COPIED, HARDEST = 0.2, "V1+V3+L4"
SEEN = ("V1", "V2", "V3", "V1+V3")
"""Variants of the pictures alone, for contamination."""


def answered(seed: int, steps: int, quick: bool) -> Arrays:
    """Train on plain questions, then ask all variants of the test questions; look for the test pictures in training.

    Returns:
        Of every variant whether each item is right; ``fallback VARIANT``; and ``seen VARIANT``, whether a picture is
        found among the training pictures and exact copies of a fifth of the test pictures.
    """
    data = asked(WORLD, "train", 64 if quick else TRAINED)
    model = SmallVQA(tower(seed), data.questions, seed)
    train(model, data, steps=steps, batch=BATCH, lr=LR, seed=seed)
    world = world_of(WORLD)
    rows = world.splits.test["as trained"][: 24 if quick else TESTED]
    examples = VLB(edition=seed)(model, world, rows).examples
    found: Arrays = {name: examples[name].to_numpy() for name in (VANILLA, *VARIANTS)}
    found |= {f"fallback {name}": examples[f"fallback_{name}"].to_numpy() for name in VARIANTS}
    items = world.items(Bootstraps, rows)
    copies = np.random.default_rng(seed).permutation(len(items))[: max(1, int(COPIED * len(items)))]
    shown = {
        name: ink([bootstrap(items, k, name, edition=seed)[0].picture for k in range(len(items))])
        for name in (VANILLA, *SEEN)
    }
    trained = torch.cat([ink(list(data.pictures)), shown[VANILLA][copies]])
    for name, z in shown.items():
        found[f"seen {name}"] = contamination(z, trained).image.astype(float)
    return found


def ink(pictures: list[Tensor]) -> Float[Tensor, "n p"]:
    """What is not white, as unit vectors: a cosine of 1 is the same picture."""
    return F.normalize(1 - pixels(torch.stack(pictures)), dim=-1)


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 3 if lab.quick else STEPS
    found = lab.cells(
        answered, {f"seed{seed}": {"seed": seed, "steps": steps, "quick": lab.quick} for seed in seeds}
    )

    def of(name: str) -> dict[int, np.ndarray]:
        return {seed: found[f"seed{seed}"][name] for seed in seeds}

    def change(better: str, worse: str, **rule: Unpack[Rule]) -> Result:
        return measure.difference(
            f"{better} − {worse}", "share of questions answered rightly", of(better), of(worse), **rule
        )

    rates = {
        name: np.mean([found[f"seed{s}"][f"fallback {name}"].mean() for s in seeds]) for name in VARIANTS
    }
    lab.note(
        f"A small convolutional and recurrent model trained on {TRAINED} scenes with plain questions, {steps} steps of",
        f"{BATCH}; {TESTED} test scenes, whose variants are drawn anew for each seed. Operators that the exact judge",
        f"refused five times fell back: {', '.join(f'{name} {rate:.0%}' for name, rate in rates.items())}.",
        "V3 and its control, which only shrinks and frames, are to be read together. Contamination compares pictures",
        "by pixels, so an edit lowers it partly by construction.",
    )
    return [
        change(VANILLA, "V1+L4", expected="above", bound=0.03),
        change("V1", "V1+L4", expected="above"),
        change("V1+L4", HARDEST, expected="above"),
        change("V2+L3", VANILLA, expected="above", decides=False),
        *(change(VANILLA, name, expected="above", decides=False) for name in SINGLE),
        change(CONTROL, "V3", expected="above", decides=False),
        *(
            measure.difference(
                f"contamination, {VANILLA} − {name}",
                "share of test pictures with a training picture of cosine above 0.9",
                of(f"seen {VANILLA}"),
                of(f"seen {name}"),
                expected="above",
                decides=name == "V1+V3",
            )
            for name in SEEN
        ),
    ]


CLAIM = Claim(
    slug="vlb",
    statement=(
        "Questions whose answers stay right after something is added to the picture and something irrelevant is said "
        "before are answered at least 3 points worse, more so than after one of the two and less so than after three "
        "such changes, and fewer of their pictures are found in training."
    ),
    refuted="a harder variant does not lose 3 points, or more hard operators do not lose more than fewer",
    run=run,
)

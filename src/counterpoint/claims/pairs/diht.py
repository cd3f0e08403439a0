"""DiHT: weights on hard negatives, captions that are filtered, and probes that start from prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...catalog.evidence import Result
from ...losses import DiHTLoss
from ..benches import skin_tones as tones
from ..benches.descent import minimise
from ..benches.emoji import SmallTwoTower, emoji_inputs, words
from ..lab import Arrays, Lab, measure

CLAIM = (
    "A moderate weight on hard negatives tells captions apart that differ in one attribute better than none "
    "does, and a filter that drops captions which relate nothing improves training at fixed steps."
)
REFUTED = "the best β is no better than 0 on clean data, or filtered training does not beat unfiltered"


TAU = 0.05
BETAS = (0.25, 0.5, 1.0)
SEEDS, STEPS = 5, 250
TUNING_SEEDS = (1000, 1001)
SHARED = 0.5
"""The share of captions without their tone, where batches hold false negatives."""
GENERIC = 0.5
"""The share of captions that only say what kind of thing it is, in 2."""
SHOTS = (1, 2, 4)


def trained(beta: float, shared: float, seed: int, steps: int) -> Arrays:
    """Train one model; test whether held-out pictures find names, and tones are told (claims 1 and 3)."""
    data, _, captions = emoji_inputs()
    model = tones.trained(
        DiHTLoss(TAU, beta=beta), seed=seed, steps=steps, captions=tones.without_tone(captions, shared, seed)
    )
    validation = tones.outcomes(model, data.splits.validation)
    found = {**tones.outcomes(model, data.splits.test), "validation": validation["contrastive"]}
    return found if beta or shared else {**found, **few_shots(model, seed)}


def filtered(keeps: str, seed: int, steps: int) -> Arrays:
    """Train where half of the captions are generic, on all or on those that relate things (claim 2)."""
    data, _, _ = emoji_inputs()
    rows = tones.toned(data.splits.train)
    generic = np.random.default_rng([seed, 19]).permutation(rows)[: round(GENERIC * len(rows))]
    texts = [data.evaluation_captions(row)[0] for row in range(len(data))]
    for row in generic:
        texts[row] = data.training_captions(int(row))[-1]
    if keeps == "filtered":
        rows = np.array([row for row in rows if complexity(texts[row]) >= 1])
    model = tones.trained(DiHTLoss(TAU, beta=0.0), seed=seed, steps=steps, captions=words(texts), rows=rows)
    return tones.outcomes(model, data.splits.test)


def complexity(caption: str) -> int:
    """Count the things that are said of the object of an emoji's name; they come after a colon.

    >>> complexity("woman: dark skin tone, red hair"), complexity("person role, people & body")
    (2, 0)
    """
    _, colon, said = caption.partition(":")
    return len(said.split(",")) if colon else 0


def few_shots(model: SmallTwoTower, seed: int) -> Arrays:
    """Classify skin tones from no picture, or from a few and a start at prompts or at random (claim 3)."""
    data, _, _ = emoji_inputs()
    labels = data.labels["tone"]
    sides = [tones.toned(part["compositions"]) for part in (data.splits.validation, data.splits.test)]
    shots, test = (torch.from_numpy(labels.values[rows]) for rows in sides)
    with torch.no_grad():
        seen, held_out = (model.embed("image", data.images(rows)) for rows in sides)
        prompts = model.embed("text", list(labels.names))
    generator = torch.Generator().manual_seed(seed)
    random = F.normalize(torch.randn(prompts.shape, generator=generator), dim=-1)
    order = torch.randperm(len(shots), generator=generator)

    def correct(weights: Tensor) -> np.ndarray:
        return ((held_out @ weights.T).argmax(1) == test).double().numpy()

    found = {"zero-shot": correct(prompts)}
    for k in SHOTS:
        few = torch.cat([order[shots[order] == tone][:k] for tone in range(len(prompts))])
        for name, start in (("prompts", prompts), ("random", random)):
            found[f"{name} {k}"] = correct(fine_tuned(start, seen[few], shots[few]))
    return found


def fine_tuned(
    start: Float[Tensor, "c d"], z: Float[Tensor, "n d"], classes: Int[Tensor, " n"], steps: int = 50
) -> Float[Tensor, "c d"]:
    """Train a linear classifier at temperature ``TAU`` by some steps of Adam on a few examples."""
    weights = start.clone().requires_grad_()
    minimise(
        lambda rng: F.cross_entropy(z @ weights.T / TAU, classes), [weights], steps=steps, lr=0.01, seed=0
    )
    return weights.detach()


def run(lab: Lab) -> Sequence[Result]:
    steps = 4 if lab.quick else STEPS
    lab.note(
        "Two-layer networks on 16 × 16 pixels and hashed words, trained on the training emoji of one skin tone",
        f"for {steps} steps at batch {tones.BATCH}, Adam at {tones.LR:g}, τ = {TAU:g} fixed. Batches are made of all",
        "the tones of a name, so that every caption has hard negatives; held-out are compositions of a known emoji",
        "and a known tone.",
    )
    return [*_hard_negatives(lab, steps), *_filter(lab, steps)]


def _hard_negatives(lab: Lab, steps: int) -> list[Result]:
    seeds, betas = lab.seeds(SEEDS), BETAS[-1:] if lab.quick else BETAS
    tuning = TUNING_SEEDS[:1] if lab.quick else TUNING_SEEDS
    settings = [(beta, 0.0, seed) for beta in betas for seed in (*seeds, *tuning)]
    settings += [(0.0, 0.0, seed) for seed in seeds]
    settings += [(beta, SHARED, seed) for beta in (0.0, betas[-1]) for seed in seeds]
    found = lab.cells(
        trained,
        {
            f"beta{beta:g}-shared{shared:g}-seed{seed}": {
                "beta": beta,
                "shared": shared,
                "seed": seed,
                "steps": steps,
            }
            for beta, shared, seed in settings
        },
    )

    def arm(beta: float, shared: float = 0.0, key: str = "contrastive") -> dict[int, np.ndarray]:
        return {seed: found[f"beta{beta:g}-shared{shared:g}-seed{seed}"][key] for seed in seeds}

    def validation(beta: float) -> float:
        return float(np.mean([found[f"beta{beta:g}-shared0-seed{seed}"]["validation"] for seed in tuning]))

    best = max(betas, key=validation)
    lab.note(
        f"1: β by validation of {len(tuning)} seeds that are not among the tested ones: {best:g}. In the last",
        f"comparison {SHARED:.0%} of the captions lose their tone, so that batches hold false negatives.",
        "3: from the models with β = 0, a linear classifier of five skin tones on frozen embeddings, 50 steps of",
        "Adam at 0.01, with pictures of the validation compositions as shots. Nothing is named that would refute",
        "3, so it does not decide. Distillation from a teacher's concepts is not tried.",
    )
    metric = "share of held-out pictures nearer their name than it is in any other skin tone"
    return [
        measure.difference(
            "1: the β chosen on validation − β = 0", metric, arm(best), arm(0.0), expected="above"
        ),
        measure.difference(
            "1: R@1, the β chosen on validation − β = 0",
            "retrieval i2t_R@1 on held-out compositions with a skin tone",
            arm(best, key="R@1"),
            arm(0.0, key="R@1"),
            expected="above",
            decides=False,
        ),
        *(
            measure.difference(
                f"1: β = {beta:g} − β = 0", metric, arm(beta), arm(0.0), expected="above", decides=False
            )
            for beta in betas
        ),
        measure.difference(
            f"1: β = {betas[-1]:g} − β = 0 with false negatives",
            metric,
            arm(betas[-1], SHARED),
            arm(0.0, SHARED),
            expected="below",
            decides=False,
        ),
        *_few_shots({seed: found[f"beta0-shared0-seed{seed}"] for seed in seeds}),
    ]


def _filter(lab: Lab, steps: int) -> list[Result]:
    seeds = lab.seeds(SEEDS)
    found = lab.cells(
        filtered,
        {
            f"{keeps}-seed{seed}": {"keeps": keeps, "seed": seed, "steps": steps}
            for keeps in ("filtered", "all")
            for seed in seeds
        },
    )
    lab.note(
        f"2: {GENERIC:.0%} of the captions are replaced by what kind of thing it is ('person role, people & body');",
        "the filter keeps captions that say something of their object, which in names of emoji is after a colon.",
        "Neither verbs nor text in pictures are looked for: emoji have none.",
    )
    return [
        measure.difference(
            f"2: {key}, filtered captions − all, β = 0",
            metric,
            {seed: found[f"filtered-seed{seed}"][key] for seed in seeds},
            {seed: found[f"all-seed{seed}"][key] for seed in seeds},
            expected="above",
            decides=key == "R@1",
        )
        for key, metric in (
            ("R@1", "retrieval i2t_R@1 on held-out compositions with a skin tone"),
            ("contrastive", "share of held-out pictures nearer their name than it is in any other skin tone"),
        )
    ]


def _few_shots(runs: Mapping[int, Arrays]) -> list[Result]:
    def arm(name: str) -> dict[int, np.ndarray]:
        return {seed: run[name] for seed, run in runs.items()}

    metric = "top-1 of skin tones, held-out compositions"
    return [
        measure.difference(
            f"3: start at prompts − {name}, shots per class: {k}",
            metric,
            arm(f"prompts {k}"),
            arm(baseline),
            expected="above",
            bound=bound,
            decides=False,
        )
        for k in SHOTS
        for name, baseline, bound in (("at random", f"random {k}", 0.0), ("zero-shot", "zero-shot", -0.02))
    ]

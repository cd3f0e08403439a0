"""Vision transformers at work: attention smooths feature maps, feed-forward steps sharpen them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...catalog.evidence import Result
from ...diagnostics.capture import captured
from ...diagnostics.internals.fourier import band_noise, relative_log_amplitude, spatial_variance
from ...networks.base import ImageTower
from ...networks.init import initialise
from ...networks.towers.convnet import ConvNet
from ..benches.emoji import SIDE
from ..benches.patches import held_out, in_parts, train_on_labels, transformer
from ..lab import Arrays, Lab, measure

CLAIM = (
    "In a trained vision transformer attention lowers the high frequencies of feature maps and feed-forward "
    "steps raise them, on at least 80 % of the steps; noise of low frequency hurts it more, against that of "
    "high frequency, than it hurts a convolutional network."
)
REFUTED = (
    "attention raises high frequencies or feed-forward steps lower them on average or on more than a fifth of "
    "the steps, or the interaction of network and frequency of the noise is absent or the other way round"
)


SEEDS, BATCH = 5, 48
STEPS = {"transformer": 600, "convolutions": 600}
BANDS = {"low": 0.4, "high": 2.8}
"""Middle of each band of noise, in radians per pixel."""
ENERGY = 0.15
"""Root mean square of the noise; pictures are in [0, 1]."""
LOOKED_AT = 256


def network(kind: str, seed: int, steps: int, tested: int | None) -> Arrays:
    """Train one network to name the groups of emoji; look inside it, and add noise of one frequency to the test.

    Returns:
        ``clean``, ``low`` and ``high``: 0 or 1 per test picture, without noise and with that of either band; of
        the transformer also what each step changes, before and after training: see `changes`.
    """
    tower = _tower(kind, seed)
    pictures, classes = held_out(tested)
    found: Arrays = {}
    if kind == "transformer":
        found |= {f"start {name}": values for name, values in changes(tower, pictures).items()}
    head = train_on_labels(tower, steps=steps, batch=BATCH, seed=seed)
    tower.eval()
    if kind == "transformer":
        found |= changes(tower, pictures)
    noises = {"clean": torch.zeros(1)} | {
        band: ENERGY * band_noise(SIDE, frequency, count=len(pictures), seed=seed)
        for band, frequency in BANDS.items()
    }
    for name, noise in noises.items():
        answers = in_parts(lambda part: head(tower(part)), pictures + noise).argmax(1).numpy()
        found[name] = (answers == classes).astype(float)
    return found


def _tower(kind: str, seed: int) -> ImageTower:
    if kind == "transformer":
        return transformer(seed)
    tower = ConvNet(SIDE, widths=(32, 64))
    initialise(tower, seed, "image")
    return tower


def changes(tower: ImageTower, pictures: Float[Tensor, "n 3 H W"]) -> Arrays:
    """Measure what each attention and each feed-forward step changes, by block.

    Returns:
        ``KIND amplitude``: of Δ log amplitude at the highest frequency; ``KIND variance``: of the log of the
        variance over positions, since the residual stream grows.
    """
    looks = [captured(tower, part) for part in torch.split(pictures[:LOOKED_AT], 64)]
    kinds = np.array([step.kind for step in looks[0].steps])
    measures: Mapping[str, Callable[[Tensor], float]] = {
        "amplitude": lambda maps: float(relative_log_amplitude(maps)[-1]),
        "variance": lambda maps: float(np.log(spatial_variance(maps))),
    }
    found: Arrays = {}
    for name, number in measures.items():
        by_step = np.mean([[number(maps) for maps in look.maps()] for look in looks], axis=0)
        # The first step has nothing captured before it: the change by the attention of the first block is left out.
        change = np.diff(by_step)
        for kind in ("attention", "mlp"):
            found[f"{kind} {name}"] = change[kinds[1:] == kind]
    return found


def run(lab: Lab) -> Sequence[Result]:
    seeds = lab.seeds(SEEDS)
    found = lab.cells(
        network,
        {
            f"{kind}-seed{seed}": {
                "kind": kind,
                "seed": seed,
                "steps": 2 if lab.quick else STEPS[kind],
                "tested": 64 if lab.quick else None,
            }
            for kind in STEPS
            for seed in seeds
        },
    )
    lab.note(
        f"Transformers of four blocks on {SIDE} × {SIDE} pixels in patches of 2 × 2, and a residual network of two",
        "stages, trained to name the groups of emoji by two artists under crops, blur, grey, colour jitter and",
        "flips; tested on concepts that training has nothing of. A: changes of neighbouring steps on",
        f"{LOOKED_AT} test pictures; the first block's attention, before which nothing is read, is left out.",
        "Variance is compared as a logarithm, since the residual stream grows with depth. B: noise of equal energy,",
        f"its frequency within 0.2 of {BANDS['low']:g} or of {BANDS['high']:g} radians per pixel. C, of networks with "
        "attention at the ends of stages, is not tested.",
    )
    return [
        *_steps(found, seeds),
        *_noise({kind: {s: found[f"{kind}-seed{s}"] for s in seeds} for kind in STEPS}),
    ]


def _steps(found: Mapping[str, Arrays], seeds: Sequence[int]) -> list[Result]:
    runs = [found[f"transformer-seed{seed}"] for seed in seeds]
    results = []
    for name, metric in (
        ("amplitude", "Δ log amplitude at the highest frequency"),
        ("variance", "log of the variance over positions"),
    ):
        results += [
            measure.over_seeds(
                f"A: {metric}, changed by attention, mean over blocks",
                metric,
                [float(run[f"attention {name}"].mean()) for run in runs],
                expected="below",
                decides=name == "amplitude",
            ),
            measure.over_seeds(
                f"A: {metric}, changed by feed-forward steps, mean over blocks",
                metric,
                [float(run[f"mlp {name}"].mean()) for run in runs],
                expected="above",
                decides=name == "amplitude",
            ),
            measure.over_seeds(
                f"A: share of steps with the expected sign, {name}",
                "share of steps",
                [
                    float(np.concatenate([run[f"attention {name}"] < 0, run[f"mlp {name}"] > 0]).mean())
                    for run in runs
                ],
                expected="above",
                bound=0.8 - 1e-9,
                decides=name == "amplitude",
            ),
        ]
    for kind in ("attention", "mlp"):
        results.append(
            measure.over_seeds(
                f"A, control: the same before training, {kind} steps",
                "Δ log amplitude at the highest frequency",
                [float(run[f"start {kind} amplitude"].mean()) for run in runs],
                expected="below" if kind == "attention" else "above",
                decides=False,
            )
        )
    return results


def _noise(runs: Mapping[str, Mapping[int, Arrays]]) -> list[Result]:
    metric = "accuracy on groups of unseen emoji"
    arms = {
        f"{kind} {noise}": {seed: run[noise] for seed, run in by_seed.items()}
        for kind, by_seed in runs.items()
        for noise in ("clean", *BANDS)
    }

    def interaction(scores: Mapping[str, float]) -> float:
        """Compute how much more low than high frequencies hurt the transformer, less the same of convolutions."""
        hurt = {kind: scores[f"{kind} high"] - scores[f"{kind} low"] for kind in runs}
        return hurt["transformer"] - hurt["convolutions"]

    return [
        measure.of_arms(
            "B: (loss by low − by high noise) of the transformer − that of convolutions",
            metric,
            arms,
            interaction,
            expected="above",
        ),
        measure.difference(
            "B: without noise, transformer − convolutions",
            metric,
            arms["transformer clean"],
            arms["convolutions clean"],
            expected="within",
            bound=0.05,
            decides=False,
        ),
    ]

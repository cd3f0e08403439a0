"""Vision transformers at work: attention smooths feature maps, feed-forward steps sharpen them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.diagnostics.capture import captured
from counterpoint.diagnostics.internals.fourier import band_noise, relative_log_amplitude, spatial_variance
from counterpoint.networks.base import ImageTower
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet

from .lab import Arrays, Grid, Lab, Result, Score, above, below, decides, effects, per_seed, secondary, within
from .lab.data_emoji import SIDE
from .lab.patches import held_out, in_parts, train_on_labels, transformer

CLAIM = (
    "In a trained vision transformer attention lowers the high frequencies of feature maps and feed-forward "
    "steps raise them, on at least 80 % of the steps; noise of low frequency hurts it more, against that of "
    "high frequency, than it hurts a convolutional network."
)
REFUTED = (
    "attention raises high frequencies or feed-forward steps lower them on average or on more than a fifth of "
    "the steps, or the interaction of network and frequency of the noise is absent or the other way round"
)
OWN = (
    "Networks learn groups of emoji in a training loop of the claim's own and not by a registered method, since what "
    "decides is what the steps of a network do to its feature maps, and how much noise of one frequency hurts it."
)
SHARE = effects.convention("share")
TENTH = effects.convention("count", reason="0.1 of a logarithm is a change by about a tenth")
STEPS_AS_EXPECTED = effects.level(
    "the other sign on more than a fifth of the steps refutes it; chosen here, as the paper gives no share",
    "convention",
)


STEPS, BATCH = 600, 48
BANDS = {"low": 0.4, "high": 2.8}
"""Middle of each band of noise, in radians per pixel."""
ENERGY = 0.15
"""Root mean square of the noise; pictures are in [0, 1]."""
LOOKED_AT = 256
AMPLITUDE = "Δ log amplitude at the highest frequency"


def network(kind: str, seed: int, steps: int, tested: int | None) -> Arrays:
    """Train one network to name the groups of emoji; look inside it, and add noise of one frequency to the test.

    Returns:
        ``clean``, ``low`` and ``high``: 0 or 1 per test picture, without noise and with that of either band; of
        the transformer also what each step changes, before and after training: see `changes`.
    """
    tower = _tower(kind, seed)
    pictures, classes = held_out(tested)
    outcomes: Arrays = {}
    if kind == "transformer":
        outcomes |= {f"start {name}": values for name, values in changes(tower, pictures).items()}
    head = train_on_labels(tower, steps=steps, batch=BATCH, seed=seed)
    tower.eval()
    if kind == "transformer":
        outcomes |= changes(tower, pictures)
    noises = {"clean": torch.zeros(1)} | {
        band: ENERGY * band_noise(SIDE, frequency, count=len(pictures), seed=seed)
        for band, frequency in BANDS.items()
    }
    for name, noise in noises.items():
        answers = in_parts(lambda part: head(tower(part)), pictures + noise).argmax(1).numpy()
        outcomes[name] = (answers == classes).astype(float)
    return outcomes


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
    outcomes: Arrays = {}
    for name, number in measures.items():
        by_step = np.mean([[number(maps) for maps in look.maps()] for look in looks], axis=0)
        # The first step has nothing captured before it: the change by the attention of the first block is left out.
        change = np.diff(by_step)
        for kind in ("attention", "mlp"):
            outcomes[f"{kind} {name}"] = change[kinds[1:] == kind]
    return outcomes


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(network, {"kind": ("transformer", "convolutions")}, steps=STEPS, tested=None)
    yield from decides(*signs(runs, "amplitude", AMPLITUDE))
    yield from secondary(*signs(runs, "variance", "log of the variance over positions"))
    start = runs.scores("start {} amplitude", AMPLITUDE, by_seed=np.mean)
    control = "A, control: the same before training"
    yield from secondary(
        below(start["transformer", "attention"], name=f"{control}, attention steps"),
        above(start["transformer", "mlp"], name=f"{control}, mlp steps"),
    )
    accuracy = runs.scores("{}", "accuracy on groups of unseen emoji")

    def hurt(kind: str) -> Score:
        """Return how much more low than high frequencies hurt a network."""
        return accuracy[kind, "high"] - accuracy[kind, "low"]

    yield from decides(
        above(
            hurt("transformer") - hurt("convolutions"),
            name="B: (loss by low − by high noise) of the transformer − that of convolutions",
            **SHARE,
        )
    )
    yield from secondary(
        within(
            accuracy["transformer", "clean"] - accuracy["convolutions", "clean"],
            0.05,
            name="B: without noise, transformer − convolutions",
        )
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


def signs(runs: Grid, name: str, metric: str) -> Iterator[Result]:
    """Judge what the transformer's steps change on average, and the share of steps with the expected sign (A)."""
    change = runs.scores("{} " + name, metric, by_seed=np.mean)
    expected = [
        float(np.concatenate([run[f"attention {name}"] < 0, run[f"mlp {name}"] > 0]).mean())
        for run in runs["transformer"].values()
    ]
    about = f"A: {metric}, changed by"
    yield below(
        change["transformer", "attention"],
        name=f"{about} attention, mean over blocks",
        **TENTH,
    )
    yield above(
        change["transformer", "mlp"],
        name=f"{about} feed-forward steps, mean over blocks",
        **TENTH,
    )
    share = per_seed(f"A: share of steps with the expected sign, {name}", "share of steps", expected)
    yield above(share, 0.8 - 1e-9, **STEPS_AS_EXPECTED)

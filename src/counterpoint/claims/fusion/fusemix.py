"""FuseMix: mixtures of latents help to align frozen encoders only if both modalities are mixed alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from torch import Tensor, nn

from ...methods.fusion.fusemix import FuseMix, Mixing
from ...networks import initialise
from ...study.presets import Preset
from ...types import Batch
from ..benches.towers import recipe
from ..benches.vectors import FirstTower, SecondTower, train
from ..lab import Arrays, Lab, Result, Score, above, beside, decides, mean

CLAIM = (
    "Mixing the latents of two pairs aligns frozen encoders better with the same coefficient in both "
    "modalities than with one for each."
)
REFUTED = "independent coefficients are as good"
_TOWERS = "image=timm:tf_efficientnet_lite0@package,text=transformers:all-MiniLM-L6-v2@package"
PRESET = Preset(
    "fusemix",
    "adapters of frozen encoders: of latents mixed alike in both modalities, mixed apart, and as they are",
    {
        "arms": (
            f"fusemix,mixing=none,{_TOWERS}",
            f"fusemix,{_TOWERS}",
            f"fusemix,mixing=independent,{_TOWERS}",
        )
    },
    f"fusemix,mixing=none,{_TOWERS}",
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
)


STEPS, BATCH = 300, 128
PAIRS = (250, 1000)
HELD_OUT = 500
SHARED, PRIVATE = 16, 48
"""Factors that both modalities see, and those that only one of them does."""
NOISE = 0.2
"""Standard deviation of the noise on latents in the baseline of that name, in units of theirs."""
ARMS: dict[str, tuple[Mixing, int, float]] = {
    "shared": ("shared", BATCH, 0.0),
    "independent": ("independent", BATCH, 0.0),
    "none, half batch": ("none", BATCH // 2, 0.0),
    "none, full batch": ("none", BATCH, 0.0),
    "noise": ("none", BATCH, NOISE),
}
POOL, CHOSEN, TOPICS = 2000, 250, 30
CHOICES = ("diverse", "random", "redundant")

Latents = tuple[Tensor, Tensor]
"""Pairs of latents, each ``(n, p)``, row by row."""


def latents(shared: Float[np.ndarray, "n s"], rng: np.random.Generator) -> Latents:
    """Draw what two frozen encoders make of pairs: the shared factors and private ones through a layer of tanh."""
    width = SHARED + PRIVATE

    def seen() -> Tensor:
        factors = np.hstack([shared, rng.standard_normal((len(shared), PRIVATE))])
        return torch.from_numpy(
            np.tanh(factors @ rng.standard_normal((width, width)) / np.sqrt(width))
        ).float()

    return seen(), seen()


def fitted(arm: str, pairs: Latents, held_out: Latents, seed: int, steps: int) -> float:
    """Train the adapters on some pairs of latents; R@1 of others, the mean of both directions."""
    mixing, size, noise = ARMS[arm]
    width = SHARED + PRIVATE
    towers = {"image": FirstTower(nn.Identity(), width), "text": SecondTower(nn.Identity(), width)}
    for tower in towers.values():
        tower.name = "latents@given"  # both have to be pretrained; here the latents come as they are
    method = FuseMix(towers, recipe(False, widths__embedding=width), mixing=mixing, layers=1)
    initialise(method, seed)

    def draw(rng: np.random.Generator) -> Batch:
        chosen = torch.from_numpy(rng.choice(len(pairs[0]), min(size, len(pairs[0])), replace=False))
        views = {name: side[chosen] for name, side in zip(("image", "text"), pairs, strict=True)}
        if noise:
            for name, side in views.items():
                shift = torch.from_numpy(rng.standard_normal(side.shape)).float()
                views[name] = side + noise * side.std() * shift
        return Batch(chosen, views)

    train(method, draw, steps=steps, lr=1e-3, seed=seed)
    with torch.no_grad():
        x, y = (
            F.normalize(method.project(modality, side, "global"), dim=-1)
            for modality, side in zip(("image", "text"), held_out, strict=True)
        )
    target = torch.arange(len(x))
    hits = [(s.argmax(1) == target).double().mean() for s in (x @ y.T, y @ x.T)]
    return float(torch.stack(hits).mean())


def mixed(arm: str, n: int, seed: int, steps: int) -> Arrays:
    """Train one way of mixing on n pairs (claim 1)."""
    rng = np.random.default_rng([seed, n, 23])
    a, b = latents(rng.standard_normal((n + HELD_OUT, SHARED)), rng)
    return {"R@1": np.array(fitted(arm, (a[:n], b[:n]), (a[n:], b[n:]), seed, steps))}


def choose(choice: str, pool: Float[np.ndarray, "n d"], n: int, seed: int) -> Int[np.ndarray, " m"]:
    """Choose n rows of a pool: at random, next to as many centres of k-means, or nearest to one of the rows."""
    rng = np.random.default_rng([seed, 29])
    if choice == "random":
        return rng.permutation(len(pool))[:n]
    if choice == "redundant":
        return np.linalg.norm(pool - pool[rng.integers(len(pool))], axis=1).argsort()[:n]
    means = KMeans(n, n_init=1, max_iter=20, random_state=seed).fit(pool)
    distance = means.transform(pool)[np.arange(len(pool)), means.labels_]
    order = distance.argsort()
    return order[np.unique(means.labels_[order], return_index=True)[1]]


def selected(choice: str, pool: int, seed: int, steps: int) -> Arrays:
    """Train on as many pairs from a pool with a few frequent topics; all are tested alike (claim 2)."""
    rng = np.random.default_rng([seed, 31])
    centres = rng.standard_normal((TOPICS, SHARED))
    popularity = 1 / np.arange(1, TOPICS + 1)
    topics = np.concatenate(
        [rng.choice(TOPICS, pool, p=popularity / popularity.sum()), rng.integers(0, TOPICS, HELD_OUT)]
    )
    shared = np.sqrt(0.8) * centres[topics] + np.sqrt(0.2) * rng.standard_normal((len(topics), SHARED))
    a, b = latents(shared, rng)
    rows = torch.from_numpy(choose(choice, torch.cat([a, b], 1)[:pool].numpy(), min(CHOSEN, pool // 4), seed))
    return {"R@1": np.array(fitted("shared", (a[rows], b[rows]), (a[pool:], b[pool:]), seed, steps))}


def run(lab: Lab) -> Iterator[Result]:
    metric = "R@1 of held-out pairs of latents, mean of both directions"
    runs = lab.grid(mixed, {"arm": tuple(ARMS), "n": PAIRS}, steps=STEPS)
    top1 = runs.scores("R@1", metric)
    choice = lab.grid(selected, {"choice": CHOICES}, pool=POOL, steps=STEPS).scores("R@1", metric)
    sizes = " and ".join(map(str, PAIRS))

    def gain(baseline: str, *pairs: int) -> Score:
        return mean(top1["shared", n] - top1[baseline, n] for n in pairs)

    yield from decides(
        above(gain("independent", *PAIRS), name=f"1: shared − independent, mean over {sizes} pairs")
    )
    yield from beside(
        *(
            above(gain(baseline, n), name=f"1: shared − {baseline}, {n} pairs")
            for n in PAIRS
            for baseline in list(ARMS)[1:]
        ),
        *(
            above(choice["diverse"] - choice[other], name=f"2: diverse − {other} choice of as many pairs")
            for other in CHOICES[1:]
        ),
    )
    lab.note(
        f"Synthetic latents, drawn anew for every seed: {SHARED} factors that both modalities share and {PRIVATE}",
        f"private ones, through a layer of tanh; {HELD_OUT} held-out pairs. Adapters of one block with dropout 0.6,",
        f"{STEPS} steps of Adam at 0.001. Batches of {BATCH} pairs give {BATCH // 2} mixtures; half batches have as",
        f"many terms in the loss. R@1 with n pairs: {top1.means()}. Nothing is named that would refute a gain over no",
        "mixing, so it does not decide; at the full batch, whose negatives are twice as many, none was expected. 2: a",
        f"pool of {POOL:,} pairs from {TOPICS} topics, popular by Zipf's law, and tests in which all topics are equal;",
        "nothing is named that would refute it either. Latents of real encoders were not tried: no pretrained ones",
        "ship with the package.",
    )

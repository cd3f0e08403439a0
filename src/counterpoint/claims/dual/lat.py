"""LaT: two spaces with translators between them, whose way there and back regularises where pairs are few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...methods.dual.clip import CLIP
from ...methods.dual.lat import LaT
from ...methods.tower_method import TowerMethod
from ...networks import initialise
from ...networks.heads import ResidualMLP
from ...types import Batch
from ..benches.towers import recipe
from ..benches.vectors import FirstTower, SecondTower, train
from ..lab import Arrays, Comparison, Lab, Result, above, beside, decides

CLAIM = (
    "With 300 pairs of latents the contrastive cycle between two spaces retrieves better than translators without it; "
    "and with trained towers two spaces and a cycle retrieve better than one joint space."
)
REFUTED = "the cycle has no gain over no cycle with 300 pairs, or the joint space is as good as two spaces"

SHARED, PRIVATE, LOUD = 16, 8, 3.0
"""Factors of both sides, factors of one side alone, and how much larger those of the first side are."""
WIDTH = 64
PAIRS = (300, 1000)
TESTED = 500
STEPS, BATCH = 600, 128
NOISE = 0.3
"""Standard deviation of what is added to translated latents, in units of theirs."""
ARMS = ("no cycle", "contrast", "distance", "joint")
COMPARISON = Comparison(
    {
        "joint": "clip",
        "joint, perceptrons": "convirt,temperature=0.05,image_weight=0.5",
        "no cycle": "lat,weight=0",
        "cycle": "lat",
        "cycle, detached": "lat,detached=true",
    },
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
    data="emoji",
    changes={"batch_size": 64, "steps": 400},
    rates=(1e-3, 3e-3),
)

Sides = tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]


def latents(n: int, rng: np.random.Generator) -> Sides:
    """Draw what two frozen encoders make of pairs: shared and private factors through a layer of tanh of its own."""
    shared = rng.standard_normal((n, SHARED))

    def seen(scale: float) -> Tensor:
        factors = np.hstack([shared, scale * rng.standard_normal((n, PRIVATE))])
        layer = rng.standard_normal((SHARED + PRIVATE, WIDTH)) / np.sqrt(SHARED + PRIVATE)
        return torch.from_numpy(np.tanh(factors @ layer)).float()

    return seen(LOUD), seen(1.0)


def method_of(arm: str) -> TowerMethod:
    """Build translators on latents; or, of as many weights, perceptrons and linear heads into one joint space."""
    setting, width = recipe(widths__embedding=WIDTH), WIDTH
    if arm == "joint":
        towers = {
            "image": FirstTower(ResidualMLP(width), width),
            "text": SecondTower(ResidualMLP(width), width),
        }
        return CLIP(towers, setting)
    through = {"image": FirstTower(nn.Identity(), width), "text": SecondTower(nn.Identity(), width)}
    weight = 0.0 if arm == "no cycle" else 1.0
    return LaT(through, setting, weight=weight, cycle="distance" if arm == "distance" else "contrast")


@torch.no_grad()
def hits(method: TowerMethod, sides: Sides, noise: float, seed: int) -> Float[np.ndarray, " n"]:
    """Return which of the first side find their partner first; what translators say is disturbed on request."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = []
    for column, side in zip(method.columns, sides, strict=True):
        z = method.project(column, method.features(column, side), "global")
        # Every half of an embedding is a unit vector in one of the spaces.
        spread = noise / np.sqrt(z.shape[1])
        embeddings.append(
            z + spread * z.norm(dim=1, keepdim=True) * torch.randn(z.shape, generator=generator)
        )
    x, y = (F.normalize(z, dim=-1) for z in embeddings)
    return ((x @ y.T).argmax(1) == torch.arange(len(x))).double().numpy()


def translated(arm: str, pairs: int, seed: int, steps: int) -> Arrays:
    """Train one arm on a few pairs of latents."""
    rng = np.random.default_rng([seed, 41])
    v, t = latents(pairs + TESTED, rng)
    method = method_of(arm)
    initialise(method, seed)

    def draw(rng: np.random.Generator) -> Batch:
        rows = torch.from_numpy(rng.choice(pairs, min(BATCH, pairs), replace=False))
        return Batch(rows, {"image": v[rows], "text": t[rows]})

    train(method, draw, steps=steps, lr=1e-3, seed=seed)
    held_out = (v[pairs:], t[pairs:])
    return {
        "R@1": hits(method, held_out, 0.0, seed),
        "R@1, disturbed": hits(method, held_out, NOISE, seed),
        # The joint space has no translators.
        "distance": np.array(
            float(method.distance("image", held_out[0]).detach()) if isinstance(method, LaT) else 0.0
        ),
    }


def run(lab: Lab) -> Iterator[Result]:
    grid = lab.grid(translated, {"arm": ARMS, "pairs": PAIRS}, steps=STEPS)
    metric = f"R@1 among {TESTED} held-out pairs of latents, first side to second"
    frozen = grid.scores("R@1", metric)
    disturbed = grid.scores("R@1, disturbed", f"{metric}, embeddings disturbed")
    study = lab.study(COMPARISON)
    forth, back = study.scores("retrieval i2t_R@1"), study.scores("retrieval t2i_R@1")
    few, many = PAIRS
    yield from decides(
        above(frozen["contrast", few] - frozen["no cycle", few], name=f"1: cycle − no cycle, {few} pairs"),
        above(forth["cycle"] - forth["joint"], name="2: cycle − joint space, trained towers, i2t"),
        above(back["cycle"] - back["joint"], name="2: cycle − joint space, trained towers, t2i"),
    )
    yield from beside(
        above(frozen["contrast", many] - frozen["no cycle", many], name=f"1: cycle − no cycle, {many} pairs"),
        *(
            above(
                frozen["distance", n] - frozen["no cycle", n],
                name=f"1: cycle of distances − no cycle, {n} pairs",
            )
            for n in PAIRS
        ),
        *(
            above(
                frozen["contrast", n] - frozen["joint", n],
                name=f"2: cycle − joint space, frozen latents, {n} pairs",
            )
            for n in PAIRS
        ),
        above(
            disturbed["contrast", few] - disturbed["no cycle", few],
            name=f"3: cycle − no cycle, disturbed, {few} pairs",
        ),
        *(
            above(score["cycle"] - score[arm], name=f"2: cycle − {arm}, trained towers, {way}")
            for score, way in ((forth, "i2t"), (back, "t2i"))
            for arm in ("joint, perceptrons", "no cycle", "cycle, detached")
        ),
    )
    lab.note(
        f"Latents: {SHARED} shared and {PRIVATE} private factors a side, those of the first side {LOUD:g} times as",
        f"large, drawn anew for every seed; {STEPS} steps of Adam at 0.001. The joint space has as many weights and",
        f"two linear heads besides. R@1: {frozen.means()}. Disturbed by noise of {NOISE:g} of their length, which",
        f"would hurt a cycle that hides the source in what it translates: {disturbed.means()}. Translators near the",
        "identity would be the joint space again; distance of the first one from it (√2: unrelated):",
        f"{grid.scores('distance', 'distance').means([(arm, n) for arm in ARMS[:3] for n in PAIRS])}.",
        f"Trained towers: emoji, batches of 64, 400 steps; i2t {forth.means()}; t2i {back.means()}. The neighbourhoods",
        "of a space before and after were not compared: LaT's spaces are the towers' own, and towers began untrained.",
    )

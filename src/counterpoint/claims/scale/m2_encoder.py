"""M2-Encoder: negatives from a group of the batch alone cost little, and one model may serve two languages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...data.worlds.emoji.world import Emoji
from ...evaluation import create
from ...losses import GroupedInfoNCELoss
from ..benches.data.emoji import Draw, SmallTwoTower, emoji_inputs, train, words
from ..lab import Arrays, Lab, Result, above, beside, decides, exact, within

CLAIM = (
    "With negatives from one of g groups of the batch, work and memory of the similarities fall as 1/g, and "
    "retrieval with 2 groups stays within a point of the whole batch."
)
REFUTED = "retrieval with 2 groups is more than 3 points worse, or the cost does not fall as 1/g"


BATCH, STEPS = 512, 150
GROUPS = (1, 2, 4, 8, 16)
RATE = 1e-3
TRANSLATED = 0.2
"""The share of training pictures that have a Chinese name too, which is read half of the time."""


@lru_cache(maxsize=1)
def chinese() -> tuple[Emoji, Float[Tensor, "N w"]]:
    """Load the emoji under their Chinese names, and those as the small towers see them."""
    data = Emoji(languages=("zh",))
    return data, words([data.captions(row)[0] for row in range(len(data))])


def bilingual(rows: np.ndarray, translated: np.ndarray, batch: int) -> Draw:
    """Return a function that draws pictures with English names, half of the translated ones with Chinese."""
    _, pictures, english = emoji_inputs()
    _, other = chinese()
    has = np.isin(np.arange(len(pictures)), translated)

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False)
        swapped = torch.from_numpy(has[chosen] & (rng.random(len(chosen)) < 0.5))
        return pictures[chosen], torch.where(swapped[:, None], other[chosen], english[chosen])

    return draw


def monolingual(rows: np.ndarray, batch: int) -> Draw:
    """Return a function that draws batches of different pictures with their Chinese names."""
    _, pictures, _ = emoji_inputs()
    _, other = chinese()

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False)
        return pictures[chosen], other[chosen]

    return draw


def hits(model: SmallTwoTower) -> Arrays:
    """Test whether each held-out picture finds its name, in English and in Chinese."""
    retrieval = create("retrieval")
    rows = emoji_inputs()[0].splits.test["compositions"]
    found = {
        language: retrieval(model, data, rows).examples["i2t_R@1"].to_numpy()
        for language, data in (("English", emoji_inputs()[0]), ("Chinese", chinese()[0]))
    }
    return {**found, "both": (found["English"] + found["Chinese"]) / 2}


def grouped(groups: int, seed: int, steps: int, batch: int) -> Arrays:
    """Train one small model of both languages, the batch cut into groups (claim 1)."""
    rows = emoji_inputs()[0].splits.train
    model = SmallTwoTower(seed, hidden=128)
    draw = bilingual(rows, rows, batch)
    train((model.image, model.text), GroupedInfoNCELoss(groups), draw, steps=steps, lr=RATE, seed=seed)
    return hits(model)


def languages(which: str, seed: int, steps: int, batch: int) -> Arrays:
    """Train one model of both languages, or one of Chinese alone, whose names are few (claim 2)."""
    rows = emoji_inputs()[0].splits.train
    translated = np.random.default_rng([seed, 5]).permutation(rows)[: round(TRANSLATED * len(rows))]
    draw = bilingual(rows, translated, batch) if which == "both" else monolingual(translated, batch)
    model = SmallTwoTower(seed, hidden=128)
    train((model.image, model.text), GroupedInfoNCELoss(1), draw, steps=steps, lr=RATE, seed=seed)
    return hits(model)


def cost(groups: int, batch: int, width: int) -> tuple[int, int]:
    """Count multiplications of a loss with its gradient, and the similarities it keeps for it."""
    generator = torch.Generator().manual_seed(0)
    x, y = F.normalize(torch.randn(2, batch, width, generator=generator), dim=-1)
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        if t.shape == (batch // groups, batch // groups):
            kept[t.data_ptr()] = t.numel()
        return t

    loss = GroupedInfoNCELoss(groups, temperature=0.1).evaluated("dense")
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            value = loss(x.requires_grad_(), y.requires_grad_())
        value.backward()
    return counter.get_total_flops() // 2, sum(kept.values())


def run(lab: Lab) -> Iterator[Result]:
    both = lab.grid(grouped, {"groups": GROUPS}, steps=STEPS, batch=BATCH).scores(
        "both", "retrieval i2t_R@1 on held-out compositions, mean of two languages"
    )
    chinese_names = lab.grid(languages, {"which": ("both", "Chinese")}, steps=300, batch=128).scores(
        "Chinese", "retrieval i2t_R@1 on held-out compositions, Chinese names"
    )
    costs = np.array([cost(g, BATCH, 24) for g in GROUPS], dtype=float)
    slopes = [float(np.polyfit(np.log(GROUPS), np.log(column), 1)[0]) + 1 for column in costs.T]

    def in_groups(count: int) -> Result:
        return above(
            both[count] - both[1], -0.01, refuted_at=-0.03, name=f"1: R@1 with {count} groups − with 1"
        )

    yield from decides(
        in_groups(2),
        *(
            within(
                exact(slope, "log-log slope"),
                0.1,
                name=f"1: growth of {name} with the number of groups, plus 1 (as 1/g)",
            )
            for name, slope in zip(("multiplications", "similarities kept"), slopes, strict=True)
        ),
    )
    yield from beside(
        *(in_groups(count) for count in GROUPS[2:]),
        above(
            chinese_names["both"] - chinese_names["Chinese"],
            name="2: R@1 in Chinese, one model of both languages − one of Chinese alone",
        ),
    )
    lab.note(
        "1: two-layer networks on 16 × 16 pixels of the emoji and hashed words of their names, in English or Chinese",
        f"by chance, {BATCH} pairs a step, {STEPS} steps of Adam at {RATE:g}, temperature learned from 0.07, the same",
        f"for all. R@1: {both.means()}. The cost is counted, as a clock on a shared machine says little;",
        "that groups spare the exchange of embeddings between devices cannot be seen on one.",
        f"2: of the training pictures {TRANSLATED:.0%} have a Chinese name, which is one in ten of the captions read;",
        "128 pairs a step and 300 steps for both models. 2 has no criterion of refutation and does not decide.",
        "Masked modelling, matching and the multiway transformer were not tried.",
    )

"""Concept association bias: two towers give a thing the colour of the one beside it; a transformer across them less."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ...data.base import Rows
from ...data.items import Associations
from ...data.worlds.scenes.items.forms import items_of
from ...data.worlds.scenes.words.captions import phrase, short
from ...data.worlds.scenes.world import Scenes
from ...evaluation.tasks.compositional.concept_association_bias import tally
from ...losses import InfoNCELoss
from ...networks.heads import Linear
from ...networks.init import initialise
from ...networks.towers.transformer import Block, Embedding
from ..benches.clip_towers import SIDE, ClipTowers
from ..benches.descent import minimise
from ..lab import Arrays, Lab, Result, above, beside, decides

CLAIM = (
    "Beside another thing, a contrastive model of two towers gives a thing the other's colour more often than "
    "a third one, the more so the stronger things and colours go together in training; a transformer across "
    "the towers, trained to match, lowers the bias by a tenth at least."
)
REFUTED = "the bias does not grow with the association, or the transformer lowers it by less than a tenth"


COLOURS = ("red", "yellow", "green", "blue", "purple")
WORLD = (
    "scenes:tiny,objects=1-2,tinted=1,relations=0,spurious=colour,"
    f"concepts=cat+dog+pig+fish+apple+banana+car+bus+key+hat,colours={'+'.join(COLOURS)}"
)
STRENGTHS = (0.3, 0.6, 0.9)
"""Shares of the things of training that have their typical colour; each colour is typical of two things."""
STRONGEST = STRENGTHS[-1]
ONE_TOLD = 0.5
"""Share of captions of two things that speak of one of them."""
STEPS, BATCH, LR = 500, 64, 2e-3
TRAINED, TESTED = 4000, 800
OUTCOMES = ("alone", "own", "other", "third", "cab")


class Seen(NamedTuple):
    """Scenes of one thing or two, and their captions."""

    pictures: UInt8[Tensor, "n 3 S S"]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@lru_cache(maxsize=4)
def seen(strength: float, count: int) -> Seen:
    """Draw training scenes of a world in which things mostly have their typical colours."""
    world = Scenes.parse(f"{WORLD},strength={strength},pixels={SIDE},train={count}")
    rows = world.splits.train
    parts = np.array_split(rows, max(1, count // 256))
    return Seen(torch.cat([world.draw(part).pictures for part in parts]), told(world, rows))


def told(world: Scenes, rows: Rows) -> list[str]:
    """Write captions that speak of all things, or of one of two, as captions of the web do."""
    found = []
    for row in map(int, rows):
        scene, draws = world.scene(row), world.draws(row)
        if len(scene.things) > 1 and draws.happens("one is told", ONE_TOLD):
            found.append(phrase(draws.choice("which is told", scene.things)))
        else:
            found.append(short(scene).text)
    return found


@lru_cache(maxsize=2)
def asked(count: int) -> tuple[Associations, UInt8[Tensor, "n 3 S S"]]:
    """Return questions about test scenes, in which all things have their typical colours, and the scenes' pictures."""
    world = Scenes.parse(f"{WORLD},strength=1,pixels={SIDE},test={count}")
    items = items_of(world, Associations, world.splits.test["as trained"])
    return items, items.pictures(np.arange(len(items)))


@final
class Crossed(nn.Module):
    """Two blocks over the places of a picture and the words of a caption, which say whether they match.

    Args:
        towers: of which the places of a picture and the vectors of words are read.
        length: of captions in tokens.
        seed: of the initial weights.
    """

    def __init__(self, towers: ClipTowers, length: int, seed: int) -> None:
        super().__init__()
        self.towers, self.length = towers, length
        width = towers.words.width
        self.place, self.into = Embedding((SIDE // 8) ** 2, width, std=0.02), Linear(32, width)
        self.blocks = nn.ModuleList(Block(width, heads=4, depth=2, causal=False) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.match = Linear(width, 1, bias=True)
        for name in ("place", "into", "blocks", "match"):
            initialise(getattr(self, name), seed, f"crossed.{name}")

    def forward(self, pictures: UInt8[Tensor, "n 3 S S"], tokens: Int[Tensor, "n L"]) -> Float[Tensor, " n"]:
        """Score how well each picture matches its caption."""
        places = self.into(self.towers.video.frame.places(pictures).flatten(2).mT) + self.place.weight
        tokens = F.pad(tokens, (0, self.length - tokens.shape[1]))
        words = (
            self.towers.words.token_embedding(tokens)
            + self.towers.words.position_embedding.weight[: self.length]
        )
        states = torch.cat([places, words], 1)
        for block in self.blocks:
            states = block(states)
        return self.match(self.norm(states.mean(1)))[:, 0]


def trained(arm: str, strength: float, seed: int, steps: int, train_size: int, test_size: int) -> Arrays:
    """Train two towers, or towers and a transformer across them, and ask for the colours of things.

    Args:
        arm: ``"towers"``, or ``"crossed"``: the same and a matching head, by which the colour is then chosen.
        strength: of the association of things and colours in training.
        seed, steps: of the run.
        train_size, test_size: how many pictures.

    Returns:
        The task's outcomes, those of one thing and of two apart.
    """
    data = seen(strength, train_size)
    items, pictures = asked(test_size)
    towers = ClipTowers([*data.captions, *(text for own in items.options for text in own)], 1, seed)
    tokens, infonce = towers.words.tokenizer(data.captions), InfoNCELoss()
    crossed = Crossed(towers, tokens.shape[1], seed) if arm == "crossed" else None

    def step(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(data), min(BATCH, len(data)), replace=False)
        x, y = towers.videos(data.pictures[rows][:, None]), towers.captions(tokens[rows])
        value: Tensor = infonce(x, y)
        return value if crossed is None else value + matching(crossed, x @ y.T, data, tokens, rows)

    parameters = [*(crossed or towers).parameters(), *infonce.parameters()]
    minimise(step, parameters, steps=steps, lr=LR, seed=seed, after=infonce.commit)
    similarities = (by_towers if crossed is None else by_match)(crossed or towers, items, pictures)
    found = tally(similarities, items)
    return {name: found[name][~np.isnan(found[name])] for name in OUTCOMES}


def matching(
    crossed: Crossed,
    near: Float[Tensor, "B B"],
    data: Seen,
    tokens: Int[Tensor, "N L"],
    rows: Int[np.ndarray, " B"],
) -> Float[Tensor, ""]:
    """Return the cross-entropy of matching or not: each picture with its caption and with one near, not the same.

    Args:
        crossed: judges pairs.
        near: similarities of pictures and captions, from which the other captions are drawn.
        data, tokens: training scenes, and all captions in tokens.
        rows: of the batch.
    """
    own = np.array([data.captions[row] for row in rows.tolist()])
    same = torch.from_numpy(own[:, None] == own[None])
    weights = (near.detach() / 0.07).masked_fill(same, -torch.inf).softmax(1)
    there = ~same.all(1)
    other = torch.multinomial(torch.where(there[:, None], weights, 1.0), 1)[:, 0]
    pictures, said = data.pictures[rows], tokens[rows]
    scores = crossed(torch.cat([pictures, pictures[there]]), torch.cat([said, said[other[there]]]))
    target = torch.cat([torch.ones(len(rows)), torch.zeros(int(there.sum()))])
    return F.binary_cross_entropy_with_logits(scores, target)


@torch.no_grad()
def by_towers(model: nn.Module, items: Associations, pictures: Tensor) -> list[Tensor]:
    """Score how near each picture is to its options."""
    assert isinstance(model, ClipTowers)
    x = torch.cat([model.eval().videos(part[:, None]) for part in torch.split(pictures, 512)])
    known = list({text: None for own in items.options for text in own})
    y = dict(zip(known, model.captions(model.words.tokenizer(known)), strict=True))
    return [torch.stack([y[text] for text in own]) @ z for own, z in zip(items.options, x, strict=True)]


@torch.no_grad()
def by_match(model: nn.Module, items: Associations, pictures: Tensor) -> list[Tensor]:
    """Score how well each picture matches its options."""
    model.eval()
    assert isinstance(model, Crossed)
    found = []
    for picture, own in zip(pictures, items.options, strict=True):
        tokens = model.towers.words.tokenizer(list(own))
        found.append(model(picture.expand(len(own), -1, -1, -1), tokens))
    return found


def run(lab: Lab) -> Iterator[Result]:
    sizes = {"steps": STEPS, "train_size": TRAINED, "test_size": TESTED}
    runs = lab.grid(trained, {"strength": STRENGTHS}, arm="towers", **sizes)
    across = lab.grid(trained, {}, arm="crossed", strength=STRONGEST, **sizes)
    metric = "share of answers about two things"
    towers, crossed = (grid.scores("{}", metric) for grid in (runs, across))
    own, other, third, cab = (towers[STRONGEST, name] for name in ("own", "other", "third", "cab"))
    thirds, chance = len(COLOURS) - 2, 1 / len(COLOURS)

    def grows(high: float, low: float) -> Result:
        return above(
            towers[high, "other"] - towers[low, "other"],
            name=f"share of the other thing's colour, association {high:g} − {low:g}",
        )

    yield from decides(
        above(
            other - third / thirds,
            name="two towers: the other thing's colour − a third colour",
            metric=f"share of the other's − share of thirds / {thirds}",
        ),
        grows(STRENGTHS[-1], STRENGTHS[0]),
        above(
            cab - crossed["cab"],
            0.1,
            name="cab: two towers − a transformer across them",
            metric="(other − own + 1) / 2",
        ),
    )
    yield from beside(
        *(grows(high, low) for low, high in pairwise(STRENGTHS)),
        above(
            crossed["own"] - own,
            name="own colour beside another thing: a transformer across − two towers",
        ),
        *(
            above(
                alone - chance,
                name=f"{arm}: own colour alone − chance",
                metric=f"share of answers about one thing − 1/{len(COLOURS)}",
            )
            for arm, alone in (("towers", towers[STRONGEST, "alone"]), ("crossed", crossed["alone"]))
        ),
    )
    lab.note(
        f"One or two dyed things, {SIDE} pixels a side, each of ten things with a typical colour of five; half of the",
        "captions of two things speak of one. Test pictures show typical colours alone; the colour whose phrase",
        f"(“a red cat”) is nearest is the answer. {STEPS} steps of {BATCH}; the association of training is",
        f"{STRONGEST:g} unless another one is named.",
    )

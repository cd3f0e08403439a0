"""SCAV: clips and sounds that differ in order alone are told apart as sequences, and not by their means."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...data.worlds.clips.sounding import FRAME
from ...data.worlds.clips.world import Clips
from ...losses import SCAVLoss
from ...networks.heads import Linear
from ...networks.init import initialise
from ...pairwise import Temperature
from ...study.presets import Preset
from ..benches.clip_towers import SIDE, FrameNetwork
from ..benches.descent import minimise
from ..lab import Arrays, Lab, Result, above, beside, decides, within

CLAIM = (
    "Between clips and their sounds that differ in the order of two events alone, contrast on the interpolated "
    "Euclidean distance of their sequences chooses the right clip more often than contrast on the mean over time, "
    "with the same encoders of single frames; transport between their vectors is blind to reversed time, and dynamic "
    "time warping is not."
)
REFUTED = "the sequence is not better than the mean over time, or transport tells reversed time, or warping does not"
PRESET = Preset(
    "scav",
    "pairs by one vector a side, and by sequences under three distances",
    {"arms": ("clip", "scav", "scav,distance=dtw", "scav,distance=wasserstein")},
    "clip",
    {"retrieval": ("*_R@1",)},
)

WORLD = "clips:sounding,backgrounds=white,tinted=1,frames=12"
ARMS = ("pooled", "euclidean", "dtw", "wasserstein")
STEPS, BATCH, LR, WIDTH = 400, 64, 2e-3, 64
TRAINED, TESTED = 1500, 300
"""Clips, of the tested ones two by two the same but for the order of their events."""
_BINS = slice(16, 112)
"""Frequencies that are heard, of 10 Hz each."""


class Films(NamedTuple):
    """Clips frame by frame: what is seen, and what is heard as the logarithm of its amplitude by frequency."""

    frames: UInt8[Tensor, "n T 3 S S"]
    heard: Float[Tensor, "n T F"]


@final
class Pair(nn.Module):
    """An encoder of single frames of a clip and one of what is heard while they last; neither sees another frame.

    Args:
        seed: of the initial weights.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seen = nn.Sequential(FrameNetwork(WIDTH), nn.GELU(), Linear(WIDTH, WIDTH))
        bins = _BINS.stop - _BINS.start
        self.ear = nn.Sequential(nn.Linear(bins, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.told = Linear(WIDTH, WIDTH)
        initialise(self, seed)

    def clips(self, frames: UInt8[Tensor, "n T 3 S S"]) -> Float[Tensor, "n T d"]:
        return F.normalize(self.seen(frames.flatten(0, 1)), dim=-1).view(*frames.shape[:2], -1)

    def sounds(self, heard: Float[Tensor, "n T F"]) -> Float[Tensor, "n T d"]:
        return F.normalize(self.told(self.ear(heard)), dim=-1)


def at_once(states: Float[Tensor, "n T d"]) -> Float[Tensor, "n 1 d"]:
    """Return the direction of the mean over time, as a sequence of one."""
    return F.normalize(states.mean(1, keepdim=True), dim=-1)


@lru_cache(maxsize=2)
def films(split: str, count: int) -> Films:
    """Return clips with their sounds, of training or of the twins that are tested."""
    world = Clips.parse(f"{WORLD},pixels={SIDE},train={count},validation=1,test={count}")
    rows = world.splits.train if split == "train" else world.splits.test["twins in order"]
    waves = world.waves(rows).reshape(len(rows), -1, FRAME) / 2**15
    amplitude = np.abs(np.fft.rfft(waves * np.hanning(FRAME), axis=2))[..., _BINS]
    return Films(world.frames(rows), torch.from_numpy(np.log1p(amplitude)).float())


def told_apart(
    loss: SCAVLoss, heard: Float[Tensor, "n T d"], one: Float[Tensor, "n T d"], other: Float[Tensor, "n T d"]
) -> Float[np.ndarray, " n"]:
    """Return for which sounds one clip is nearer than another; what is equal up to rounding counts half."""
    lengths = torch.full((len(heard),), heard.shape[1])
    near, far = (loss.matched(heard, clips, lengths, lengths) for clips in (one, other))
    gap = far - near
    return torch.where(gap.abs() < 1e-4, 0.5, (gap > 0).double()).numpy()


def sequential(arm: str, seed: int, steps: int, trained: int, tested: int) -> Arrays:
    """Train one arm, and ask it of twins, and of clips and their own reversal."""
    training, test = films("train", trained), films("test", tested - tested % 2)
    towers = Pair(seed)
    pooled = arm == "pooled"
    loss = SCAVLoss(
        "euclidean" if pooled else arm,  # type: ignore[arg-type] # one of the distances
        temperature=Temperature(0.07, bounds=(0.01, 1.0)),
    )

    def seen(frames: UInt8[Tensor, "n T 3 S S"]) -> Tensor:
        states = towers.clips(frames)
        return at_once(states) if pooled else states

    def batch(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(trained, min(BATCH, trained), replace=False))
        states = towers.sounds(training.heard[rows])
        return loss(at_once(states) if pooled else states, seen(training.frames[rows]))

    minimise(
        batch, [*towers.parameters(), *loss.parameters()], steps=steps, lr=LR, seed=seed, after=loss.commit
    )
    towers.eval()
    with torch.no_grad():
        states = towers.sounds(test.heard)
        heard, clips = at_once(states) if pooled else states, seen(test.frames)
        twins = torch.arange(len(test.frames)).view(-1, 2).flip(1).flatten()
        nearest = loss.distances(heard, clips).argmin(1)
        return {
            "twins": told_apart(loss, heard, clips, clips[twins]),
            "reversed": told_apart(loss, heard, clips, clips.flip(1)),
            "R@1": (nearest == torch.arange(len(heard))).double().numpy(),
        }


def run(lab: Lab) -> Iterator[Result]:
    grid = lab.grid(sequential, {"arm": ARMS}, steps=STEPS, trained=TRAINED, tested=TESTED)
    twins = grid.scores("twins", "sounds whose clip is nearer than its twin in another order (chance 1/2)")
    turned = grid.scores("reversed", "sounds whose clip is nearer than the same one reversed (chance 1/2)")
    first = grid.scores("R@1", f"sounds that find their clip first among {TESTED}, of which each has a twin")
    yield from decides(
        above(twins["euclidean"] - twins["pooled"], name="interpolated Euclidean − mean over time, twins"),
        within(turned["wasserstein"] - 0.5, 0.05, name="transport, reversed time, above chance"),
        above(turned["dtw"] - 0.5, name="warping, reversed time, above chance"),
    )
    yield from beside(
        above(first["euclidean"] - first["pooled"], name="interpolated Euclidean − mean over time, R@1"),
        above(twins["dtw"] - twins["pooled"], name="warping − mean over time, twins"),
        above(first["euclidean"] - first["dtw"], name="interpolated Euclidean − warping, R@1"),
        above(first["euclidean"] - first["wasserstein"], name="interpolated Euclidean − transport, R@1"),
    )
    lab.note(
        f"{TRAINED} clips of two things that move up or down one after the other, each with a tone that follows its",
        f"height; {STEPS} steps of {BATCH}; encoders of single frames and of tenths of a second, so that no state",
        "knows of another time. The mean over time is compared by the distance of its direction, from the same",
        "temperature. A frame shows where both things are, so that the mean of a clip may tell it from its twin; what",
        f"is heard does not. Twins: {twins.means()}; reversed: {turned.means()}; R@1: {first.means()}.",
    )

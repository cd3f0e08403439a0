"""VideoCon: contrast captions teach a model of videos what in-batch negatives do not ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...catalog.evidence import Result
from ...data.items import ContrastCaptions
from ...evaluation.tasks.video.videocon import entailments
from ...losses import CountToTenLoss
from ..benches.clip_towers import COLOURS, SIDE, ClipTowers, filmed
from ..benches.descent import minimise
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Choosing between a video's caption and a contrast caption in training raises the ROC-AUC of order flips, "
    "relations and counts by ten points at least over in-batch negatives alone, on pairs of things that "
    "training never shows together, and captions alone do not give the contrasts away."
)
REFUTED = "a gain is ten points or less, or captions alone give the contrasts away"


WORLD = (
    "clips:compositions,frames=6,settings=count+relation,tinted=1,backgrounds=white,"
    f"actions=appear+vanish+move left+move right+move up+move down,colours={COLOURS},"
    "concepts=cat+dog+pig+fish+apple+banana+car+bus+hat+tree+ball+chair"
)
TRAINED_ON, HELD_OUT = "as trained", "pairs"
ARMS = ("plain", "contrasts")
"""In-batch negatives alone, and besides the choice between a video's caption and its contrast."""
TAUGHT = ("flip", "relation", "counting")
FRAMES, SEEDS, STEPS, BATCH, LR = 6, 5, 700, 64, 2e-3
TRAINED, TESTED = 5000, 2400
GAIN, NEAR = 0.1, 0.1


def trained(arm: str, seed: int, steps: int, quick: bool) -> Arrays:
    """Train on videos and captions, with or without a contrast caption each, and judge every kind of contrast.

    Args:
        arm: one of `ARMS`.
        seed, steps: of the run.
        quick: tiny.

    Returns:
        For either test split and each kind, components of the AUC and whether a video is closer to its own caption.
    """
    data = filmed(WORLD, "train", 40 if quick else TRAINED, ContrastCaptions)
    said = _captions(data.items)
    towers = ClipTowers([text for both in said for text in both], FRAMES, seed)
    tokens = towers.words.tokenizer([text for both in said for text in both]).view(len(data), 2, -1)
    loss = CountToTenLoss()

    def step(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(data), min(BATCH, len(data)), replace=False)
        x, y = towers.videos(data.frames[rows]), towers.captions(tokens[rows, 0])
        if arm == "plain":
            value: Tensor = loss.infonce(x, y)
        else:
            value = loss(x, y, towers.captions(tokens[rows, 1]))
        return value

    minimise(
        step, [*towers.parameters(), *loss.parameters()], steps=steps, lr=LR, seed=seed, after=loss.commit
    )
    found: Arrays = {}
    for split in (TRAINED_ON, HELD_OUT):
        test = filmed(WORLD, split, 200 if quick else TESTED, ContrastCaptions)
        outcomes = judged(towers, test.frames, _captions(test.items), test.items.kinds)
        found |= {f"{split} {name}": values for name, values in outcomes.items()}
    return found


def _captions(items: object) -> Sequence[tuple[str, str]]:
    assert isinstance(items, ContrastCaptions)
    return items.captions


@torch.no_grad()
def judged(
    towers: ClipTowers, frames: Tensor, captions: Sequence[tuple[str, str]], kinds: Sequence[str]
) -> Arrays:
    """Return the task's outcomes, those of a kind without the items of others."""
    towers.eval()
    tokens = towers.words.tokenizer([text for both in captions for text in both])
    texts = torch.cat([towers.captions(part) for part in torch.split(tokens, 256)]).view(len(frames), 2, -1)
    videos = torch.cat([towers.videos(part) for part in torch.split(frames, 256)])
    found = entailments((texts @ videos[:, :, None])[..., 0], texts, kinds)
    told = np.asarray(kinds) != "hallucination"  # which adds words
    kept = {name: values[~np.isnan(values)] for name, values in found.items()}
    return kept | {"text_only_auc": found["text_only_auc"][told]}


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 2 if lab.quick else STEPS
    cells = lab.cells(
        trained,
        {
            f"{arm}-seed{seed}": {"arm": arm, "seed": seed, "steps": steps, "quick": lab.quick}
            for arm in ARMS
            for seed in seeds
        },
    )

    def of(arm: str, score: str, split: str = HELD_OUT) -> dict[int, np.ndarray]:
        return {seed: cells[f"{arm}-seed{seed}"][f"{split} {score}"] for seed in seeds}

    def gain(score: str, split: str = HELD_OUT, **rule: float | bool) -> Result:
        where = "unseen pairs" if split == HELD_OUT else "seen pairs"
        return measure.difference(
            f"contrasts − plain, {score.removeprefix('auc_')}, {where}",
            "ROC-AUC of a video's caption against its contrast",
            of("contrasts", score, split),
            of("plain", score, split),
            expected="above",
            bound=float(rule.get("bound", 0.0)),
            decides=bool(rule.get("decides", False)),
        )

    def beside_half(name: str, arm: str, score: str, decides: bool) -> Result:
        return measure.of_arms(
            name,
            "ROC-AUC − 1/2",
            {arm: of(arm, score)},
            lambda s: s[arm] - 0.5,
            expected="within",
            bound=NEAR,
            decides=decides,
        )

    first = next(iter(cells.values()))
    kinds = [name.removeprefix(f"{HELD_OUT} ") for name in first if name.startswith(f"{HELD_OUT} auc_")]
    lab.note(
        f"Videos of {FRAMES} frames of {SIDE} pixels, in which two dyed things appear, vanish or move, one after the",
        "other; the concepts of the two are never seen together in training (concepts are hard to see at this size, so",
        f"what is told apart is colour, place and motion). {steps} steps of {BATCH} clips from random weights. One",
        "contrast a clip, chosen against its own video alone; either clip of a contrast may be shown. The text-only",
        "AUC leaves out hallucinations, whose captions are longer.",
    )
    return [
        *(gain(f"auc_{kind}", bound=GAIN, decides=True) for kind in TAUGHT),
        beside_half("plain, flip, unseen pairs", "plain", "auc_flip", False),
        beside_half("contrasts, captions alone, unseen pairs", "contrasts", "text_only_auc", True),
        *(gain(kind) for kind in kinds if kind.removeprefix("auc_") not in TAUGHT),
        *(gain(f"auc_{kind}", TRAINED_ON) for kind in TAUGHT),
        gain("auc"),
    ]

"""XBind: does similarity in an aligned space make a scene that shows what a prompt of any modality says?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.pixels.sprites import DYES
from counterpoint.data.synthetic.scenes.scene import UNIT, Colour, Scene, Thing
from counterpoint.data.synthetic.speech import Speech
from counterpoint.generation import LayeredScenes, fit_scenes
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.training.start import load

from .lab import Lab, Result, Score, TrainingComparison, above, arm, decides, effects, mean, secondary

CLAIM = (
    "Scenes that are fitted to a caption, a picture or speech by their similarity in an aligned space show their "
    "thing and colour more often by 0.05 than the nearest training picture does, and speech is followed better by 0.05 "
    "than through its nearest caption; an encoder that took no part finds them more similar to their prompts."
)
REFUTED = "another encoder sees no similarity, or the nearest picture or caption does as well"
DELTA = effects.convention("share", of=5, reason="the paper reports choices of users")
SIMILAR = effects.convention("correlation")

STEPS, SCENES, FITTED, STARTS, SIDE = 500, 100, 100, 2, 48
CONCEPTS = ("cat", "dog", "fish", "apple", "banana", "car", "bus", "key", "guitar", "hat", "tree", "chair")
COLOURS: tuple[Colour, ...] = ("red", "yellow", "green", "blue", "purple")
DATA = (
    f"speech:basic,objects=1,repeats=0,relations=0,tinted=1,sizes=large,concepts={'+'.join(CONCEPTS)},"
    f"colours={'+'.join(COLOURS)},train=2000,validation=64,test={SCENES}"
)
PROMPTS = ("text", "image", "audio")
COMPARISON = TrainingComparison(
    {"encoder": "more,hub=image"},
    {"retrieval": ("i2t_R@1",)},
    data=DATA,
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 64,
        "towers.image_size": SIDE,
        "towers.text_layers": 1,
        "towers.audio_seconds": 2.0,
        "augmentation.synonyms": False,
    },
)


class AlignedSpace(NamedTuple):
    """A trained encoder, and the embeddings of prompts and of training rows, less the mean of their modality."""

    model: TowerMethod
    centre: Float[Tensor, " d"]
    test: dict[str, Float[Tensor, "n d"]]
    train: dict[str, Float[Tensor, "N d"]]

    def encode(self, pictures: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        """Return embeddings of pictures, with gradient."""
        z = self.model.project("image", self.model.features("image", pictures), "global")
        return F.normalize(z, dim=-1)


def opened(model: TowerMethod, data: Speech) -> AlignedSpace:
    """Embed test rows and training rows."""
    parts = [next(iter(data.splits.test.values())), data.splits.train]
    test, train = ({name: model.embed(name, data.read(name, rows)) for name in PROMPTS} for rows in parts)
    means = {name: z.mean(0) for name, z in train.items()}
    centred = [{name: z - means[name] for name, z in part.items()} for part in (test, train)]
    return AlignedSpace(model.eval(), means["image"], *centred)


def bank() -> Float[Tensor, "C 4 h w"]:
    """Return the things in their own colours, with opacity, from what they look like on black and on white."""
    things = [(Thing(concept, None, "large", UNIT, UNIT // 2, UNIT // 2),) for concept in CONCEPTS]
    black, white = (
        draw([Scene(0, one, background=ground) for one in things], 32).pictures / 255
        for ground in ("black", "white")
    )
    opacity = (1 - (white - black).mean(1, keepdim=True)).clamp(0, 1)
    return torch.cat([(black / opacity.clamp_min(1e-3)).clamp(0, 1), opacity], 1)


def fitted(
    space: AlignedSpace, prompts: Float[Tensor, "n d"], seed: int, steps: int, views: int = 2
) -> LayeredScenes:
    """Fit some scenes to each prompt and return those that fit best."""
    torch.manual_seed(seed)
    scenes = LayeredScenes(bank(), len(prompts) * STARTS, size=SIDE)
    repeated = prompts.repeat_interleave(STARTS, 0)[None]
    reached = fit_scenes(
        scenes, space.encode, repeated, centre=space.centre, steps=steps, views=views, seed=seed
    )
    best = torch.arange(len(prompts)) * STARTS + reached.view(-1, STARTS).argmax(1)
    for parameter in scenes.parameters():
        parameter.data = parameter.data[best]
    return scenes


def shown(scenes: LayeredScenes, things: list[Thing]) -> Float[np.ndarray, " n"]:
    """Return the share of thing and colour that scenes have right, as their parameters say."""
    concepts = scenes.probabilities()[:, 0].argmax(1).tolist()
    dyes = torch.tensor([DYES[colour] for colour in COLOURS]) / 255
    colours = torch.cdist(scenes.dyes()[:, 0, :3].detach(), dyes).argmin(1).tolist()
    pairs = zip(concepts, colours, things, strict=True)
    return np.array([agreement(CONCEPTS[a], COLOURS[b], thing) for a, b, thing in pairs])


def agreement(concept: str, colour: str | None, thing: Thing) -> float:
    """Return the share of a thing's concept and colour that are named right."""
    return ((concept == thing.concept) + (colour == thing.colour)) / 2


def similarity(
    space: AlignedSpace, pictures: Tensor, prompts: Float[Tensor, "n d"]
) -> Float[np.ndarray, " n"]:
    """Return the cosines of pictures with their prompts, each less the mean of its modality."""
    with torch.no_grad():
        return F.cosine_similarity(space.encode(pictures.detach()) - space.centre, prompts).numpy()


def measured(
    space: AlignedSpace, other: AlignedSpace, data: Speech, seed: int, steps: int
) -> dict[str, np.ndarray]:
    """Return outcomes of the test rows by what is measured."""
    rows, train = next(iter(data.splits.test.values())), data.splits.train
    things = [data.scene(int(row)).things[0] for row in rows]
    out: dict[str, np.ndarray] = {}
    for name in PROMPTS:
        prompts = space.test[name]
        scenes = fitted(space, prompts, seed, steps)
        out[f"{name}, fitted"] = shown(scenes, things)
        nearest = (F.normalize(prompts, dim=1) @ F.normalize(space.train["image"], dim=1).T).argmax(1)
        seen = [data.scene(int(train[k])).things[0] for k in nearest]
        out[f"{name}, nearest"] = np.array(
            [agreement(a.concept, a.colour, b) for a, b in zip(seen, things, strict=True)]
        )
        torch.manual_seed(seed)
        start = LayeredScenes(bank(), len(rows), size=SIDE)
        out[f"{name}, rise"] = similarity(other, scenes(), other.test[name]) - similarity(
            other, start(), other.test[name]
        )
    captions = F.normalize(space.train["text"], dim=1)
    nearest = (F.normalize(space.test["audio"], dim=1) @ captions.T).argmax(1)
    out["two steps"] = shown(fitted(space, space.train["text"][nearest], seed, steps), things)
    plain = fitted(space, space.test["text"], seed, steps, views=0)
    out["without views, own"] = similarity(space, plain(), space.test["text"])
    out["without views, other"] = similarity(other, plain(), other.test["text"])
    return out


def run(lab: Lab) -> Iterator[Result]:
    study, data = lab.study(COMPARISON), load_any(lab.world(DATA))
    assert isinstance(data, Speech)
    seeds, outcomes = lab.seeds(COMPARISON.seeds), {}
    steps = len(lab.some(range(FITTED)))
    for seed, judge in zip(seeds, (*seeds[1:], seeds[0]), strict=True):
        models = [load(study.folder("encoder", of)) for of in (seed, judge)]
        spaces = [opened(model, data) for model in models if isinstance(model, TowerMethod)]
        outcomes[seed] = measured(spaces[0], spaces[1], data, seed, steps)

    def score(name: str, metric: str = "share of thing and colour") -> Score:
        return arm(name, {seed: values[name] for seed, values in outcomes.items()}, metric)

    fits, nearest = ({name: score(f"{name}, {way}") for name in PROMPTS} for way in ("fitted", "nearest"))
    rise = [score(f"{name}, rise", "cosine in another encoder") for name in PROMPTS]
    yield from decides(
        above(mean(fits.values()) - mean(nearest.values()), name="1: fitted − nearest picture", **DELTA),
        above(fits["audio"] - score("two steps"), name="2: speech, fitted − by its nearest caption", **DELTA),
        above(mean(rise), name="3: rise of the similarity in another encoder", **SIMILAR),
    )
    yield from secondary(
        *(above(fits[name] - nearest[name], name=f"1: {name}, fitted − nearest picture") for name in PROMPTS)
    )
    means = {
        name: np.mean([values[name].mean() for values in outcomes.values()])
        for name in next(iter(outcomes.values()))
    }
    lab.note(
        f"The registered method more with pictures as the hub, {STEPS} steps on {DATA}; {SCENES} prompts of each",
        f"modality, {FITTED} steps of Adam, the better of {STARTS} starts. The other encoder is that of the next seed.",
        "Share of thing and colour, and cosines: "
        + ", ".join(f"{n} {v:.3f}" for n, v in means.items())
        + ".",
    )

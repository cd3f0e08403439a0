"""Q-Boost: a neutral word and several words for each tone rank pictures by quality better than good against poor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.evaluation.rating import ENSEMBLE, PROMPT, score
from counterpoint.evaluation.statistic import spearman
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.types import Prompt

from .lab import Arrays, Lab, Result, Score, above, decides, effects, mean, per_seed, secondary, within

CLAIM = (
    "Read from the same logits of a vision-language model that was taught to rate with favourite words, the "
    "score of three words for each of three tones ranks pictures by quality better than that of good against "
    "poor, and better than one word for each tone does in the mean over the words."
)
REFUTED = (
    "the ensemble with a neutral tone ranks no better than good against poor, or than its words one by one"
)
OWN = (
    "All readings are made here from one set of logits, on pictures at eight strengths. The task image_quality has one "
    "reading and three strengths."
)
RANKING = effects.convention("correlation")


SEEDS, PICTURES, STRENGTHS = 5, 24, 8
"""Worlds; pictures of each; strengths of each distortion, the first of which leaves a picture as it is."""
MIDDLE = slice(2, 6)
"""The strengths that are neither good nor poor."""
SIMULATED = 20_000
"""Ratings whose logits are drawn at random, to measure the noise that an ensemble leaves."""
WHERE = {
    "": "within a distortion",
    ", middle": "within a distortion, middle strengths",
    ", all": "of all pictures",
}
"""Pictures among which a correlation is, by its name's end."""

Logits = Float[Tensor, "n triples tones"]


def _softmax_last(logits: Logits) -> Float[Tensor, " n"]:
    """Return the mean over triples of each pair's own score: what the mean of logits is not."""
    each: Tensor = score(logits[:, :, [0, 2]].flatten(0, 1)[:, None])
    return each.view(logits.shape[:2]).mean(1)


READINGS: Mapping[str, Callable[[Logits], Float[Tensor, " n"]]] = {
    "binary": lambda z: score(z[:, :1, [0, 2]]),
    "TTI": lambda z: score(z[:, :1]),
    "MPE": lambda z: score(z[:, :, [0, 2]]),
    "TTI + MPE": score,
    "second triple": lambda z: score(z[:, 1:2]),
    "third triple": lambda z: score(z[:, 2:]),
    "pairs averaged after softmax": _softmax_last,
}
"""Ways to read one score from the same logits."""


def blurred(pictures: UInt8[Tensor, "n 3 H W"], amount: float) -> UInt8[Tensor, "n 3 H W"]:
    sigma = amount * pictures.shape[-1] / 12
    return F.gaussian_blur(pictures, [2 * int(3 * sigma) + 1] * 2, [sigma] * 2)


def noisy(pictures: UInt8[Tensor, "n 3 H W"], amount: float) -> UInt8[Tensor, "n 3 H W"]:
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    return (pictures + 255 * 0.4 * amount * noise).round().clamp(0, 255).to(torch.uint8)


def compressed(pictures: UInt8[Tensor, "n 3 H W"], amount: float) -> UInt8[Tensor, "n 3 H W"]:
    quality = round(50 * (4 / 50) ** amount)
    return torch.stack([F.jpeg(picture, quality) for picture in pictures])


DISTORTIONS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "blur": blurred,
    "noise": noisy,
    "compression": compressed,
}
"""From pictures and an amount above 0 up to 1, where it is as strong as the strongest that the model was trained on."""


def rated(model: str, world: str, pictures: int, strengths: int) -> Arrays:
    """Read how probable one model finds each word, for pictures of one world that are made worse step by step.

    Returns:
        The logits of all words: distortions × strengths × pictures × triples × tones.
    """
    assistant = VisionLanguageAssistant.load(model)
    scenes = Scenes.parse(world)
    rows = next(iter(scenes.splits.test.values()))[:pictures]
    originals = scenes.draw(rows).pictures
    words = [word for triple in ENSEMBLE for word in triple]

    def read(shown: Tensor) -> Tensor:
        return assistant.word_logits([Prompt(PROMPT, picture) for picture in shown], words)

    untouched = read(originals)
    by_distortion = [
        torch.stack(
            [untouched, *(read(distort(originals, k / (strengths - 1))) for k in range(1, strengths))]
        )
        for distort in DISTORTIONS.values()
    ]
    logits = torch.stack(by_distortion)
    return {"logits": logits.view(*logits.shape[:-1], len(ENSEMBLE), -1).numpy()}


def correlation(levels: np.ndarray, scores: np.ndarray) -> float:
    return spearman(np.stack([levels.ravel(), scores.ravel()], 1))


def correlations(logits: Float[np.ndarray, "d s n triples tones"]) -> dict[str, float]:
    """Return each reading's rank correlation with quality: within a distortion (mean), of its middle, and of all."""
    coefficients = {}
    strengths = logits.shape[1]
    levels = np.broadcast_to(strengths - 1 - np.arange(strengths)[:, None], logits.shape[:3])
    z = torch.from_numpy(np.ascontiguousarray(logits)).double()
    for name, reading in READINGS.items():
        values = reading(z.flatten(0, 2)).reshape(z.shape[:3]).numpy()
        inside = [correlation(a, b) for a, b in zip(levels, values, strict=True)]
        middle = [correlation(a[MIDDLE], b[MIDDLE]) for a, b in zip(levels, values, strict=True)]
        coefficients[name], coefficients[f"{name}, middle"] = float(np.mean(inside)), float(np.mean(middle))
        coefficients[f"{name}, all"] = correlation(levels, values)
    return coefficients


def simulated(seed: int, count: int) -> Arrays:
    """Draw logits of words with biases and noise, and measure how much noise is left in those of the tones."""
    rng = np.random.default_rng([seed, 71])
    bias, noise = rng.normal(size=(3, 3)), rng.normal(size=(count, 3, 3))
    quality = rng.uniform(-1, 1, (count, 1, 1)) * np.array([1.0, 0.0, -1.0])
    logits = bias + quality + noise
    left = (logits - quality).mean(1).var(0).mean()
    return {"ratio": np.array(left / (logits - quality).var(0).mean())}


def run(lab: Lab) -> Iterator[Result]:
    worlds = [f"{world()},seed={100 + seed},test={PICTURES},corrupted=0" for seed in lab.seeds(SEEDS)]
    read = lab.grid(
        rated,
        {"world": worlds},
        seeds=None,
        model=str(default_model_path()),
        pictures=PICTURES,
        strengths=STRENGTHS,
    )
    by_world = [correlations(read[one][None]["logits"]) for one in worlds]
    noise = lab.grid(simulated, {}, count=SIMULATED).scores("ratio", "ratio of variances, simulated logits")

    def ranked(reading: str, part: str = "") -> Score:
        metric = f"Spearman's correlation of score and quality, {WHERE[part]}"
        return per_seed(reading, metric, [each[f"{reading}{part}"] for each in by_world])

    def gain(reading: str, other: str, part: str = "") -> Result:
        return above(ranked(reading, part) - ranked(other, part), name=f"{reading} − {other}{part}")

    alone = mean(ranked(reading) for reading in ("TTI", "second triple", "third triple"))
    yield from decides(
        above(ranked("TTI + MPE") - ranked("binary"), name="TTI + MPE − binary", **RANKING),
        above(ranked("TTI + MPE") - alone, name="TTI + MPE − one triple, mean of the three", **RANKING),
    )
    yield from secondary(
        gain("TTI", "binary"),
        gain("MPE", "binary"),
        gain("TTI + MPE", "binary", ", middle"),
        gain("TTI + MPE", "binary", ", all"),
        gain("TTI + MPE", "TTI"),
        gain("TTI + MPE", "second triple"),
        gain("TTI + MPE", "third triple"),
        gain("MPE", "pairs averaged after softmax"),
        within(noise[()] - 1 / 3, 0.02, name="noise of three triples over that of one, less 1/3"),
    )
    means = ", ".join(f"{name} {np.mean([each[name] for each in by_world]):.3f}" for name in READINGS)
    lab.note(
        "One model, the tiny vision-language model that ships with the package: a seed is a world of other scenes,",
        "so intervals say how the result depends on pictures and not on the training. It was trained on ratings of",
        "which a favourite word takes six of ten, another three and the third one, and on pictures made worse at",
        f"three strengths; here there are {STRENGTHS} of blur, noise and compression, and {PICTURES} pictures a world.",
        f"Correlation within a distortion: {means}. Strengths of two distortions are not comparable, so that of all",
        "pictures decides nothing.",
    )

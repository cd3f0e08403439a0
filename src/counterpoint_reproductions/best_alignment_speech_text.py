"""Best alignment: do states of speech and text that are made consistent along it transcribe and retrieve better?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.speech import Speech, SpokenText
from counterpoint.losses.best_alignment import best_path, uniform_path
from counterpoint.methods import BestAlignment
from counterpoint.training.start import load

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, per_seed, secondary

CLAIM = (
    "With few transcribed sentences and many that are text alone, CTC and the best alignment make fewer character "
    "errors than CTC alone, and find captions by speech better."
)
REFUTED = "retrieval by speech is as good without the alignment, or characters are wrong as often"
SHARE = effects.convention("share")

CTC, BEST, UNIFORM = "CTC alone", "best path", "uniform path"
METHOD = "best-alignment"
COMPARISON = TrainingComparison(
    {CTC: f"{METHOD},weight=0", BEST: METHOD, UNIFORM: f"{METHOD},path=uniform"},
    {"transcription": ("cer",), "retrieval": ("a2t_R@1",)},
    data="speech:gaps,same=true,objects=1-2,relations=0,missing_speech=0.6,missing_captions=0,train=2500,"
    "validation=100,test=300",
    recipe="cpu",
    changes={
        "batch_size": 48,
        "steps": 500,
        "threads": 1,
        "widths.embedding": 128,
        "towers.text": "transformer",
        "towers.text_layers": 2,
        "towers.vocabulary": 259,
        "towers.context": 64,
        "towers.audio_seconds": 3.0,
        "validate_every": 400,
    },
)
"""Tokens are bytes, so that where a character is said can be held against the times of the words."""
HOP = 320
"""Samples of a frame: a state of the tower of sounds is of 80 ms, of which the method makes four frames."""
LIMIT = 100
"""Sounds whose paths are looked at."""


@torch.no_grad()
def looked_at(folder: Path, count: int) -> dict[str, float]:
    """Measure how often a frame's token on each path is of the word that is said, and what mismatched texts cost."""
    method, data = load(folder), load_any(COMPARISON.data)
    assert isinstance(method, BestAlignment)
    assert isinstance(data, Speech)
    method.eval()
    rows = next(iter(data.splits.test.values()))[:count]
    raw = data.read("audio", rows)
    texts = [data.caption(int(row)) for row in rows]
    speech = method.states("audio", method.inputs["audio"](raw))
    tokens = method.inputs["text"](texts)
    text = method.states("text", tokens)
    frames, length = ((z != 0).any(-1).sum(1) for z in (speech, text))
    enough = frames >= length
    costs = torch.cdist(speech, text).square()
    paths = {
        "best": best_path(costs, frames.maximum(length), length),
        "uniform": uniform_path(frames, length, speech.shape[1]),
    }
    shares = {
        name: float(
            np.mean(
                [
                    right(path[k, : frames[k]], text_, one)
                    for k, (text_, one) in enumerate(zip(texts, data.spoken(rows), strict=True))
                    if enough[k]
                ]
            )
        )
        for name, path in paths.items()
    }
    order = torch.arange(len(rows)).roll(1)
    fits = enough & (frames >= length[order])
    matched = method.alignment.costs(speech[fits], text[fits], frames[fits], length[fits]) / frames[fits]
    other = method.alignment.costs(speech[fits], text[order][fits], frames[fits], length[order][fits])
    return {**shares, "auroc": float((matched[:, None] < (other / frames[fits])[None]).double().mean())}


def right(path: Int[Tensor, " T"], text: str, spoken: SpokenText) -> float:
    """Return the share of the frames within words whose token is a character of the word that is said."""
    hits: list[Float[np.ndarray, ""]] = []
    begins = 0
    for word in spoken.words:
        begins = text.index(word.text, begins)
        ends = begins + len(word.text)
        first, last = -(-word.start // HOP), word.end // HOP
        # Behind the start token and the space before the first word.
        characters = path[first:last].numpy() - 2
        hits += list((begins <= characters) & (characters < ends))
        begins = ends
    return float(np.mean(hits)) if hits else 0.0


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    errors, top1 = study.scores("transcription cer"), study.scores("retrieval a2t_R@1")
    seeds = lab.seeds(COMPARISON.seeds)
    count = len(lab.some(range(LIMIT)))
    looked = {arm: [looked_at(study.folder(arm, seed), count) for seed in seeds] for arm in (CTC, BEST)}

    def inside(arm: str, name: str) -> list[float]:
        return [one[name] for one in looked[arm]]

    yield from decides(above(top1[BEST] - top1[CTC], **SHARE), below(errors[BEST] - errors[CTC], **SHARE))
    over_uniform = np.array(inside(BEST, "best")) - inside(BEST, "uniform")
    over_plain = np.array(inside(BEST, "best")) - inside(CTC, "best")
    yield from secondary(
        above(top1[BEST] - top1[UNIFORM]),
        below(errors[BEST] - errors[UNIFORM]),
        above(per_seed("best − uniform stretching", "frames at the word that is said", over_uniform)),
        above(per_seed(f"{BEST} − {CTC}", "frames at the word that is said, best path", over_plain)),
        above(per_seed(CTC, "AUROC of the cost of matched texts", inside(CTC, "auroc")), 0.7),
    )
    lab.note(
        "Scenes of one thing or two alike; three of five captions are not spoken in training. Tokens are bytes.",
        f"Character error rates: {errors.means()}; a2t R@1: {top1.means()}. Share of frames within a word whose token",
        f"is of that word, after training with the best path: {np.mean(inside(BEST, 'best')):.3f} on it,",
        f"{np.mean(inside(BEST, 'uniform')):.3f} on uniform stretching; CTC alone: {np.mean(inside(CTC, 'best')):.3f}.",
    )

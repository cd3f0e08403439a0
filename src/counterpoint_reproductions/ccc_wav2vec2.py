"""CCC-wav2vec 2.0: do near negatives share the phoneme, and do terms across a noisy copy help in noise?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.speech import Speech, SpeechSpan
from counterpoint.methods.ccc_wav2vec2 import CCCWav2Vec2
from counterpoint.networks.clusters import cosine_kmeans
from counterpoint.training.start import load

from .lab import Lab, Result, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "Targets in the cluster of the positive share its phoneme more often than others, and terms across a noisy copy "
    "make frames of noisy speech tell their phoneme better than wav2vec 2.0's loss alone."
)
REFUTED = (
    "clusters say nothing of phonemes, or phonemes are read from noisy speech as well without the cross terms"
)
SHARE = effects.convention("share")

PLAIN, FULL = "wav2vec 2.0", "cross terms and clusters"
METHOD = "ccc-wav2vec2,audio=wav2vec2"
STEPS, BATCH = 220, 24
COMPARISON = TrainingComparison(
    {PLAIN: f"{METHOD},scale=1,cross=0,crossed=0", FULL: METHOD},
    {"probe": ("logistic_speaker_top1",)},
    data="speech:basic,train=800,validation=50,test=100,pixels=16",
    recipe="cpu",
    changes={
        "batch_size": BATCH,
        "steps": STEPS,
        "threads": 1,
        "towers.audio_seconds": 3.0,
        "validate_every": STEPS,
    },
)
LIMIT = 80
"""Sounds whose frames the probe learns from, and as many that it is asked about."""


def frames_of(
    method: CCCWav2Vec2, data: Speech, rows: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "f w"], np.ndarray, Int[np.ndarray, " f"]]:
    """Return the states of all frames in which something is said, its phonemes, and the sounds that they are of."""
    with torch.no_grad():
        raw = data.read("audio", rows)
        states = method.encoder.states(method.encoder.input(raw))
    counts = (states != 0).any(-1).sum(1).tolist()
    features, names, owners = [], [], []
    for number, (spoken, count) in enumerate(zip(data.spoken(rows), counts, strict=True)):
        phonemes = phonemes_of(spoken.phonemes, len(spoken.samples), count)
        kept = phonemes != ""
        features.append(states[number, :count].numpy()[kept])
        names.append(phonemes[kept])
        owners.append(np.full(int(kept.sum()), number))
    return np.concatenate(features), np.concatenate(names), np.concatenate(owners)


def phonemes_of(spans: Sequence[SpeechSpan], samples: int, frames: int) -> np.ndarray:
    """Return the phoneme in the middle of each of so many frames."""
    middles = (np.arange(frames) + 0.5) * samples / frames
    starts = np.array([span.start for span in spans])
    places = np.clip(np.searchsorted(starts, middles, side="right") - 1, 0, len(spans) - 1)
    return np.array([spans[index].text for index in places])


def probed(folder: Path, count: int) -> dict[str, float]:
    """Measure how well phonemes are read from frames, and how often targets of one cluster share theirs."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    method, data = load(folder), load_any(COMPARISON.data)
    assert isinstance(method, CCCWav2Vec2)
    assert isinstance(data, Speech)
    method.eval()
    x, y, _ = frames_of(method, data, data.splits.train[:count])
    scaled = StandardScaler().fit(x)
    probe = LogisticRegression(max_iter=100).fit(scaled.transform(x), y)
    outcomes = {}
    for name, rows in data.splits.test.items():
        tested, phonemes, _ = frames_of(method, data, rows[:count])
        outcomes[name] = float((probe.predict(scaled.transform(tested)) == phonemes).mean())
    return outcomes | shared(method, data, count)


@torch.no_grad()
def shared(method: CCCWav2Vec2, data: Speech, count: int) -> dict[str, float]:
    """Measure the share of pairs of frames of one sound that have one phoneme: of one cluster, and of all."""
    rows = data.splits.test["as trained"][:count]
    model, raw = method.encoder.model, data.read("audio", rows)
    targets, phonemes, owners = [], [], []
    for number, (sound, spoken) in enumerate(zip(raw, data.spoken(rows), strict=True)):
        heard = method.encoder.standardised(method.encoder.input(sound).nan_to_num(0.0))
        _, features = model.feature_projection(model.feature_extractor(heard).mT)
        target = method.of_target(method.quantizer(features)[0])[0]
        names = phonemes_of(spoken.phonemes, len(spoken.samples), len(target))
        targets.append(target)
        phonemes.append(names)
        owners.append(np.full(len(target), number))
    masked = int(
        0.5 * np.mean([len(target) for target in targets])
    )  # of the frames of a sound, about a half is masked
    clusters = cosine_kmeans(torch.cat(targets), max(2, masked // method.cluster_factor)).numpy()
    names, owner = np.concatenate(phonemes), np.concatenate(owners)
    counts = {"flagged": [0, 0], "all": [0, 0]}
    for number in range(len(rows)):
        here = (owner == number) & (names != "")
        alike = names[here][:, None] == names[here]
        near = clusters[here][:, None] == clusters[here]
        other = ~np.eye(len(alike), dtype=bool)
        for kind, chosen in (("flagged", near & other), ("all", other)):
            counts[kind][0] += int(alike[chosen].sum())
            counts[kind][1] += int(chosen.sum())
    return {kind: hits / max(pairs, 1) for kind, (hits, pairs) in counts.items()}


def run(lab: Lab) -> Iterator[Result]:
    study, seeds = lab.study(COMPARISON), lab.seeds(COMPARISON.seeds)
    count = len(lab.some(range(LIMIT)))
    read = {arm: [probed(study.folder(arm, seed), count) for seed in seeds] for arm in COMPARISON.arms}

    def gain(name: str) -> np.ndarray:
        return np.array([a[name] - b[name] for a, b in zip(read[FULL], read[PLAIN], strict=True)])

    premise = np.array([one["flagged"] - one["all"] for one in read[FULL]])
    yield from decides(
        above(per_seed("one cluster − all pairs", "pairs of frames of one phoneme", premise), **SHARE),
        above(per_seed(f"{FULL} − {PLAIN}", "phonemes of noisy frames", gain("noisy")), **SHARE),
    )
    yield from secondary(
        above(per_seed(f"{FULL} − {PLAIN}", "phonemes of clean frames", gain("as trained"))),
    )
    means = [
        f"{arm} {np.mean([one['as trained'] for one in of]):.3f}, {np.mean([one['noisy'] for one in of]):.3f}"
        for arm, of in read.items()
    ]
    lab.note(
        f"A small Wav2Vec2 of random weights, {STEPS} steps of {BATCH} × 1.5 s. Phonemes are espeak's own, at the",
        "middle of a frame; the probe learns from clean frames. The terms across the copy come with clusters of",
        f"the negatives, as in the paper. Clean and noisy: {'; '.join(means)}.",
    )

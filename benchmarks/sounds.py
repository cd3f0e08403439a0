"""Sound and speech: captions spoken a second, log-mel spectrograms and the monotone alignment beside others' code.

    python benchmarks/sounds.py [REPEATS] [CAPTIONS] [THREADS]

Ratios are medians of what is measured in alternation. A log-mel of 256 sounds of 2 s is held against the feature
extractor of transformers' Whisper at its own sizes; the alignment of 64 × 200 frames with 40 tokens, both passes,
against ``F.ctc_loss`` of the same sizes. Captions are spoken on all processors into a new cache, and read again.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import WhisperFeatureExtractor

from counterpoint.data.synthetic.speech import Speech
from counterpoint.losses import BestAlignmentLoss
from counterpoint.networks.towers.sound import LogMel

SOUNDS, SECONDS, RATE = 256, 2, 16_000
PAIRS, FRAMES, TOKENS, WIDTH, VOCABULARY = 64, 200, 40, 128, 260


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> float:
    """The median of our time over theirs, by turns after one of each."""
    ours(), theirs()
    return median(seconds(ours) / seconds(theirs) for _ in range(repeats))


def spectrograms(repeats: int) -> None:
    waves = np.random.default_rng(0).standard_normal((SOUNDS, SECONDS * RATE)).astype(np.float32) / 10
    extractor = WhisperFeatureExtractor()
    fft, hop = extractor.n_fft, extractor.hop_length
    mel = LogMel(RATE, extractor.feature_size, window=fft, hop=hop, fft=fft)
    given = torch.from_numpy(waves)
    theirs = partial(
        extractor, list(waves), sampling_rate=RATE, padding="longest", return_tensors="pt", truncation=False
    )
    found = ratio(lambda: mel(given), theirs, repeats)
    print(f"log-mel of {SOUNDS} × {SECONDS} s / WhisperFeatureExtractor: {found:.2f}")


def alignments(repeats: int) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(PAIRS, FRAMES, WIDTH, generator=g, requires_grad=True)
    y = torch.randn(PAIRS, TOKENS, WIDTH, generator=g, requires_grad=True)
    logits = torch.randn(FRAMES, PAIRS, VOCABULARY, generator=g, requires_grad=True)
    targets = torch.randint(1, VOCABULARY, (PAIRS, TOKENS), generator=g)
    frames, tokens = torch.full((PAIRS,), FRAMES), torch.full((PAIRS,), TOKENS)

    def ctc() -> None:
        F.ctc_loss(logits.log_softmax(-1), targets, frames, tokens).backward()

    for name, loss in (("hard", BestAlignmentLoss()), ("soft", BestAlignmentLoss(gamma=0.1))):
        found = ratio(lambda loss=loss: loss(x, y).backward(), ctc, repeats)
        print(f"{name} alignment of {PAIRS} × {FRAMES} × {TOKENS} / F.ctc_loss: {found:.2f}")


def captions(count: int) -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COUNTERPOINT_CACHE"] = cache
        source, rows = f"speech:basic,train={count},validation=1,test=1", np.arange(count)
        spoken, again = (seconds(lambda: Speech.parse(source).spoken(rows)) for _ in range(2))
    print(
        f"{count} captions spoken in {spoken:.1f} s on {os.cpu_count()} processors, {count / spoken:.0f} a second; "
        f"read again in {again:.2f} s"
    )


def main() -> None:
    repeats, count, threads = (int(x) for x in (*sys.argv[1:4], *("20", "4000", "1")[len(sys.argv[1:4]) :]))
    torch.set_num_threads(threads)
    spectrograms(repeats)
    alignments(repeats)
    captions(count)


if __name__ == "__main__":
    main()

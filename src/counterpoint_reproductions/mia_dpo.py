"""MIA-DPO: wrong replies about one of several pictures, written while the model attends to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.data.base import Data
from counterpoint.data.replies._maker import Maker
from counterpoint.data.replies.albums import Albums, attention_ratio, words
from counterpoint.data.source import load_any
from counterpoint.evaluation import STATISTICS
from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.study.replies import SamplingAssistant, make_replies
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run
from counterpoint.types import Prompt

from .lab import (
    Lab,
    Result,
    Score,
    TrainingComparison,
    above,
    arm,
    below,
    decides,
    effects,
    secondary,
    within,
)

CLAIM = (
    "Among pictures in a collage, wrong replies attend less to the picture that is asked about than right ones: the "
    "AUROC of the ratio to even attention is above 1/2. After preference optimisation with wrong replies of a low "
    "ratio, a smaller share of replies is right for another picture than after as many steps of fine-tuning on the "
    "good replies of the same rows."
)
REFUTED = "the ratio is as high for wrong replies, or fine-tuning confuses pictures as rarely"
AUROC = effects.convention("correlation", reason="the paper gives none")
SHARE = effects.convention("share", reason="the paper's benchmarks ask for letters of choices")

SFT, WRONG, ALBUMS = "sft", "any wrong reply", "low attention"
STEPS = 100
ALONE = "scenes:tiny,objects=1,tinted=1,pixels=96,train=4000,validation=64,test=2000,talk=captions"
DATA = f"{ALONE},albums=collage2"
BATCH = 250
"""Requests whose pictures are in memory."""
START = TrainingComparison(
    {"start": "sft"},
    {"wrong_picture": ("confused",)},
    data=DATA,
    recipe="speak",
    changes={"steps": 1500, "validate_every": 1500, "towers.image_size": 96},
    seeds=(0,),
)


def begun(start: Path) -> dict[str, str]:
    """Return the arms, which go on from one run; without β, dpo is fine-tuning on the good replies."""
    of = f'dpo,from="{start}"'
    return {
        SFT: f"{of},worse=albums,beta=0,sft=1",
        WRONG: f"{of},worse=wrong",
        ALBUMS: f"{of},worse=albums",
    }


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    tasks={"wrong_picture": ("confused", "accuracy")},
    changes={**START.changes, "steps": STEPS, "validate_every": STEPS, "optimizer.lr": 5e-4},
    seeds=5,
)


def attended(assistant: SamplingAssistant, data: Data) -> tuple[Score, Score]:
    """Return the AUROC of the ratio for sampled right replies to test requests, and the share of these."""
    (rows,) = data.splits.test.values()
    judged = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        talks = [talk[0] for talk in data.read("talk", part)]
        prompts = [
            Prompt(talk.request, picture)
            for talk, picture in zip(talks, data.read("image", part), strict=True)
        ]
        replies = assistant.reply(prompts)
        read = assistant.attention(prompts, replies)
        for row, talk, reply, attention in zip(part, talks, replies, read, strict=True):
            asked = data.asked_part(int(row))
            assert asked is not None
            judged.append((float(words(reply) == words(talk.reply)), attention_ratio(attention, asked)))
    known = np.array([pair for pair in judged if np.isfinite(pair[1])])
    return (
        arm("the ratio to even attention", known, "AUROC for right replies", STATISTICS["auroc"]),
        arm("sampled replies", known[:, 0], "share of right replies"),
    )


def run(lab: Lab) -> Iterator[Result]:
    folder = lab.study(START, "start").folder("start", 0)
    pairs, model = lab.folder / "pairs", load_run(folder)
    assert isinstance(model, SpeakingMethod)
    source = Run.read(folder).data
    assistant = SamplingAssistant(model, temperature=1.0, max_tokens=16)
    auroc, right = attended(assistant, load_any(source, 96))
    lab.notify(f"void without right and wrong replies: share of right ones {right.measure().estimate}")
    makers: dict[str, Maker] = {"albums": Albums(), "wrong": Albums(ratio=1e9)}
    made = make_replies(assistant, source, pairs, makers)
    study = lab.study(replace(COMPARISON, arms=begun(folder), data=str(pairs)))
    confused, accuracy = (study.scores(f"wrong_picture {name}") for name in ("confused", "accuracy"))
    alone = study.on(load_any(lab.world(ALONE), 96), "likelihood nats")
    yield from decides(
        above(auroc, 0.5, name="1: AUROC of the ratio for right replies", **AUROC),
        below(
            confused[ALBUMS] - confused[SFT],
            name="2: replies that are right for another picture, low attention − sft",
            **SHARE,
        ),
    )
    yield from secondary(
        below(
            confused[ALBUMS] - confused[WRONG],
            name="replies that are right for another picture, low attention − any wrong reply",
        ),
        above(accuracy[ALBUMS] - accuracy[SFT], name="right replies, low attention − sft"),
        within(alone[ALBUMS] - alone[SFT], 0.02, name="nats a word of one picture, low attention − sft"),
    )
    refused = "; ".join(f"{name} {sum(reasons.values())}" for name, reasons in made.refused.items())
    lab.note(
        f"The registered method on {DATA} under the recipe speak, pictures of 96 pixels, {STEPS} steps from one",
        "run of sft, which also writes the worse replies, at temperature 1. Fine-tuning is dpo with β = 0 and sft = 1,",
        f"so that all arms see pairs alone. Of sampled test replies {right.measure().estimate:.3f} are right. Rows",
        f"without a worse reply: {refused}. Replies that are right for another picture: {confused.means()}; right",
        f"replies: {accuracy.means()}; nats a word where a picture stands alone: {alone.means()}.",
    )

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
from counterpoint.study.replies import SamplingAssistant, make_replies, requests_of
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run

from .lab import Lab, Result, Score, TrainingComparison, above, arm, below, decides, effects, secondary

CLAIM = (
    "Of three pictures, wrong replies attend less to the one that is asked about than right ones: the AUROC of the "
    "ratio to even attention is above 1/2. After preference optimisation with wrong replies of a low ratio, a smaller "
    "share of replies is right for another picture than after as many steps of fine-tuning on the good replies of the "
    "same rows."
)
REFUTED = "the ratio is as high for wrong replies, or fine-tuning confuses pictures as rarely"
AUROC = effects.convention("correlation", reason="the paper gives none")
SHARE = effects.convention("share", reason="the paper's benchmarks ask for letters of choices")

SFT, WRONG, ALBUMS = "sft", "any wrong reply", "low attention"
START_STEPS, STEPS = 400, 100
DATA = (
    "scenes:tiny,objects=1,tinted=1,concepts=cat+car+apple+tree,pixels=48,train=4000,validation=64,test=2000,"
    "talk=captions,albums=sequence3"
)
SHOWN = "second+third"
TOWER = TrainingComparison(
    {"tower": "clip,image=vit,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:tiny,objects=1-2,tinted=1,relations=0,train=6000,validation=64,test=1000,pixels=48",
    recipe="speak",
    changes={"steps": 600, "validate_every": 600, "batch_size": 64, "optimizer.lr": 0.002},
    seeds=(0,),
)
START = replace(
    TOWER,
    arms={"start": 'sft,image="vit@runs/tower",columns=image+talk+second+third'},
    tasks={"wrong_picture": ("confused", "accuracy")},
    data=DATA,
    changes={"steps": START_STEPS, "validate_every": START_STEPS},
)


def begun(start: Path) -> dict[str, str]:
    """Return the arms, which go on from one run; without β, dpo is fine-tuning on the good replies."""
    of = f'dpo,from="{start}",columns=image+talk'
    return {
        SFT: f"{of}+albums+{SHOWN},beta=0,sft=1",
        WRONG: f"{of}+wrong+{SHOWN}",
        ALBUMS: f"{of}+albums+{SHOWN}",
    }


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    changes={"steps": STEPS, "validate_every": STEPS, "optimizer.lr": 5e-4},
    seeds=5,
)


def attended(assistant: SamplingAssistant, data: Data) -> tuple[Score, Score]:
    """Return the AUROC of the ratio for sampled right replies to test requests, and the share of these."""
    (rows,) = data.splits.test.values()
    _, asked = requests_of(data, rows, seed=0)
    prompts = [one.prompt for one in asked]
    replies = assistant.reply(prompts)
    judged = [
        (float(words(reply) == words(one.reply)), attention_ratio(attention, one.part))
        for one, reply, attention in zip(asked, replies, assistant.attention(prompts, replies), strict=True)
        if one.part is not None
    ]
    known = np.array([pair for pair in judged if np.isfinite(pair[1])])
    return (
        arm("the ratio to even attention", known, "AUROC for right replies", STATISTICS["auroc"]),
        arm("sampled replies", known[:, 0], "share of right replies"),
    )


def run(lab: Lab) -> Iterator[Result]:
    tower = lab.study(TOWER, "tower").folder("tower", 0)
    begin = {"start": f'sft,image="vit@{tower}",columns=image+talk+{SHOWN}'}
    folder = lab.study(replace(START, arms=begin), "start").folder("start", 0)
    pairs, model = lab.folder / "pairs", load_run(folder)
    assert isinstance(model, SpeakingMethod)
    source = Run.read(folder).data
    assistant = SamplingAssistant(model, temperature=1.0, max_tokens=16)
    auroc, right = attended(assistant, load_any(source))
    lab.notify(f"void without right and wrong replies: share of right ones {right.measure().estimate}")
    makers: dict[str, Maker] = {"albums": Albums(), "wrong": Albums(ratio=1e9)}
    made = make_replies(assistant, source, pairs, makers)
    study = lab.study(replace(COMPARISON, arms=begun(folder), data=str(pairs)))
    confused, accuracy = (study.scores(f"wrong_picture {name}") for name in ("confused", "accuracy"))
    yield from decides(
        above(auroc, 0.5, name="1: AUROC of the ratio for right replies", **AUROC),
        below(
            confused[ALBUMS] - confused[SFT],
            name="2: replies that are right for another picture, low attention − sft",
            **SHARE,
        ),
    )
    yield from secondary(
        below(confused[ALBUMS] - confused[WRONG], name="the same as 2, low attention − any wrong reply"),
        above(accuracy[ALBUMS] - accuracy[SFT], name="right replies, low attention − sft"),
    )
    refused = "; ".join(f"{name} {sum(reasons.values())}" for name, reasons in made.refused.items())
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps from one run of sft of {START_STEPS}",
        "steps, which also writes the worse replies, at temperature 1. Its picture tower is that of 600 steps of clip,",
        "and frozen. Fine-tuning is dpo with β = 0 and sft = 1, so that all arms see pairs alone. Of sampled test",
        f"replies {right.measure().estimate:.3f} are right. Rows without a worse reply: {refused}. Replies that are",
        f"right for another picture: {confused.means()}; right replies: {accuracy.means()}.",
    )

"""R2-T2: descent on the loss of neighbours repairs a router that was trained on half of the kinds of questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "Where the routers of a model's experts were trained further on half of the kinds of questions, the model gives "
    "more right replies to questions of the other kinds if the weights of its experts descend on the loss of the five "
    "nearest training rows that it gets right, than under its routers, and than with five random such rows."
)
REFUTED = "random neighbours do as well, or the routers do"
SHARE = effects.convention("share", reason="the paper's figures were not checked")

ROUTER, RANDOM, UNIFORM = "router", "random neighbours", "uniform weights"
REGRESSION, MODES, DESCENT, ORACLE = "kernel regression", "mode finding", "descent", "oracle"
FILE = Path(__file__).parent / "lab" / "data_asked.py"
BRIDGE = "bridge=crossed,tokens=2,experts=4"
STEPS, OPENED, MORE = 500, 600, 200
TASK = "answers,kinds=thing/size"
SMALL = {"towers.image_size": 32, "towers.image_patch": 8}
TOWERS = TrainingComparison(
    {"CLIP": "clip,image=vit,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data=f"{FILE}:ALL",
    recipe="speak",
    changes={"steps": 400, "validate_every": 400, "batch_size": 64, "optimizer.lr": 0.002, **SMALL},
)


def taught(towers: Path) -> TrainingComparison:
    """Return the model that learns all kinds of questions, on the tower of its seed."""
    smaller = {"batch_size": 32, "optimizer.lr": 0.003, "towers.talk_context": 32, "towers.talk_width": 64}
    changes = {**TOWERS.changes, **smaller, "steps": STEPS, "validate_every": STEPS}
    arms = {"all kinds": f'sft,columns=image+talk,image="vit@{towers}",{BRIDGE}'}
    return replace(TOWERS, arms=arms, tasks={TASK: ("accuracy",)}, changes=changes)


BASE = taught(Path("runs/towers/seed-{seed}"))


def gone_on(models: Path, name: str, steps: int, lr: float, which: str = "full") -> TrainingComparison:
    """Return the arm whose bridge alone goes on, so that its gates open, or its routers alone on half of the kinds."""
    arm = f'sft,columns=image+talk,from="{models}",{BRIDGE},tune=frozen,tune_image=frozen,balance=0'
    changes = {**BASE.changes, "steps": steps, "validate_every": steps, "optimizer.lr": lr}
    data = f"{FILE}:HALF" if which == "routers" else BASE.data
    return replace(BASE, arms={name: f"{arm},tune_bridge={which}"}, data=data, changes=changes)


def begun(models: Path) -> dict[str, str]:
    """Return the arms, which are the model of their seed."""
    of = f'r2-t2,columns=image+talk,from="{models}",{BRIDGE},lr=0.1'
    return {
        ROUTER: f"{of},steps=0",
        RANDOM: f"{of},neighbours=random",
        UNIFORM: f"{of},strategy=uniform",
        REGRESSION: f"{of},strategy=regression",
        MODES: f"{of},strategy=modes",
        DESCENT: of,
        ORACLE: f"{of},strategy=oracle",
    }


_ARMS = begun(Path("runs/half/seed-{seed}"))
COMPARISON = replace(BASE, arms={name: _ARMS[name] for name in _ARMS if name != ORACLE})


def run(lab: Lab) -> Iterator[Result]:
    small = f"{FILE}:FEW"
    towers = lab.study(replace(TOWERS, data=lab.world(TOWERS.data, small)), "towers")
    models = lab.study(replace(taught(towers.each("CLIP")), data=lab.world(BASE.data, small)), "all kinds")
    opened = gone_on(models.each("all kinds"), "bridge", OPENED, 0.02)
    bridges = lab.study(replace(opened, data=lab.world(BASE.data, small)), "bridges")
    before = bridges.scores(f"{TASK} accuracy")
    half = gone_on(bridges.each("bridge"), "half", MORE, 0.03, "routers")
    halves = lab.study(replace(half, data=lab.world(half.data, small)), "half")
    arms = begun(halves.each("half"))
    told, data = arms.pop(ORACLE), lab.world(BASE.data, small)
    right = lab.study(replace(COMPARISON, arms=arms, data=data)).scores(f"{TASK} accuracy")
    of_replies = {ROUTER: arms[ROUTER], DESCENT: arms[DESCENT], ORACLE: told}
    likelihoods = replace(COMPARISON, arms=of_replies, tasks={"likelihood": ("nats",)}, data=data, seeds=3)
    nats = lab.study(likelihoods, "likelihoods").scores("likelihood nats")
    yield from decides(
        above(right[DESCENT] - right[ROUTER], name="1: accuracy, descent − router", **SHARE),
        above(right[DESCENT] - right[RANDOM], name="2: accuracy, descent − random neighbours", **SHARE),
    )
    yield from secondary(
        above(right[DESCENT] - right[UNIFORM], name="accuracy, descent − uniform weights"),
        above(right[DESCENT] - right[REGRESSION], name="accuracy, descent − kernel regression"),
        above(right[REGRESSION] - right[ROUTER], name="accuracy, kernel regression − router"),
        above(right[MODES] - right[ROUTER], name="accuracy, mode finding − router"),
        below(nats[DESCENT] - nats[ROUTER], name="nats a word, descent − router"),
        below(nats[ORACLE] - nats[DESCENT], name="nats a word, descent on the true reply − descent"),
    )
    lab.note(
        f"Scenes of one thing: a tower of CLIP, {STEPS} steps of sft and {OPENED} of its bridge",
        f"alone on questions of four kinds, {MORE} of its routers alone on two, and 1,000 questions of the other two.",
        "Descent less router is the share of replies that were corrected, less that of replies that were broken.",
        f"Accuracy before the routers went on: {before.means()}; after: {right.means()}. Nats a word: {nats.means()}.",
    )

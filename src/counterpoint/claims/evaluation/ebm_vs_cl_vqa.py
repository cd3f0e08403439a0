"""EBMs vs. CL: which unlabelled start of an image tower helps to answer questions with few labelled ones?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...data.worlds.scenes.world import Scenes
from ...evaluation.statistic import calibration_error
from ...evaluation.tasks.classification.out_of_distribution import OutOfDistribution
from ...methods.single.ebm import EBM, diverged
from ...networks.init import initialise
from ...networks.towers.convnet import ConvNet
from ...study.presets import Preset
from ...types import NonFiniteLoss
from ..benches.towers import SimCLR, recipe, trained
from ..benches.vqa import SIDE, SmallVQA, answer, asked, tower, train, world_of
from ..lab import Arrays, Lab, Result, Score, above, arm, below, beside, decides, per_seed

CLAIM = (
    "A contrastive start without labels raises the accuracy of a model that learns to answer questions from "
    "200 labelled ones, and the energy of an energy-based start tells pictures by an artist that it has not "
    "seen."
)
REFUTED = "the contrastive start does not raise accuracy, or the AUROC of the energy is at most 0.6"
PRESET = Preset(
    "ebm-vs-cl-vqa",
    "starts of an image tower without labels: contrastive and energy-based",
    {"arms": ("ntxent,on=images", "ebm")},
    "ntxent,on=images",
    {"probe": ("logistic_*_top1",)},
)


WORLD = (
    "scenes:compositions,objects=1,sizes=large,"
    "concepts=cat+dog+pig+fish+apple+banana+car+bus+key+guitar+hat+tree+ball+chair+box"
)
KINDS = ("choose colour", "choose object")
"""Kinds of questions: a small model learns them from hundreds of labels, and no guess from the words answers them."""
TESTS = {"as trained": "as trained", "held out": "colours"}
"""Test splits: of the combinations of concept and colour of training, and of those that training never shows."""
BATCH, PRETRAINED = 64, 4000
STEPS = {"cl": 300, "none": 0, "ebm": 120}
"""Steps of pretraining, by start: SimCLR, none, the energy-based model."""
RATES = {"cl": 2e-3, "ebm": 3e-4}
"""Rates of learning: energy-based models break down at the rates of others."""
SAMPLING, NOISY = 15, 1000
"""Langevin steps of the energy-based model, and its buffer."""
LABELLED = (200, 800)
"""Labelled questions."""
TUNED, LR, TESTED = 300, 1e-3, 500


def experiment(start: str, seed: int, steps: int, tuned: int, quick: bool) -> Arrays:
    """Pretrain an image tower without labels, then train it to answer few labelled questions.

    Args:
        start: one of `STEPS`.
        seed: of everything.
        steps: of the pretraining.
        tuned: steps of the training on questions.
        quick: tiny.

    Returns:
        ``n SPLIT``: whether each test question is answered rightly after n labelled ones; ``n ece``; ``blind``: with
        other questions' pictures, after most; ``failed``; and of pretrained towers ``SCORE artist``, what each test
        picture adds to the AUROC of its score against the other artist's picture of the same scene.
    """
    world = world_of(WORLD)
    image, found = tower(seed), Arrays()
    found["failed"] = np.array(0.0)
    if start != "none":
        found |= pretrained(start, image, world, seed, steps, quick)
    state = {name: value.clone() for name, value in image.state_dict().items()}
    most = asked(WORLD, "train", 40 if quick else max(LABELLED), KINDS)
    tests = {name: asked(WORLD, split, 16 if quick else TESTED, KINDS) for name, split in TESTS.items()}
    for count in LABELLED:
        fresh = ConvNet(SIDE, widths=(32, 64))
        fresh.load_state_dict(state)
        model = SmallVQA(fresh, most.questions, seed)
        train(model, most.first(count), steps=tuned, batch=BATCH, lr=LR, seed=seed)
        for name, data in tests.items():
            answers = answer(model, data)
            found[f"{count} {name}"] = answers.right
            if name == "as trained":
                sure = np.stack([answers.confidence, answers.right], 1)
                found[f"{count} ece"] = np.array(calibration_error(sure))
        found["blind"] = answer(model, tests["as trained"], blind=True).right
    return found


def pretrained(start: str, image: ConvNet, world: Scenes, seed: int, steps: int, quick: bool) -> Arrays:
    """Pretrain a tower in place; return whether that failed, and how well its scores tell another artist's pictures."""
    rows = world.splits.train[: 32 if quick else PRETRAINED]
    plan = recipe(quick, steps=steps, batch_size=BATCH, optimizer__lr=RATES[start], towers__image_size=SIDE)
    plan = plan.model_copy(update={"towers": plan.towers.model_copy(update={"image_size": SIDE})})
    model: SimCLR | EBM
    if start == "cl":
        model = SimCLR(image, plan, seed)
    else:
        model = EBM({"image": image}, plan, steps=SAMPLING, buffer=NOISY)
        initialise(model.projection, seed, "energy")
        initialise(model.buffer, seed, "buffer")
    try:
        trained(model, world, rows, plan, seed)
    except NonFiniteLoss:
        initialise(image, seed, "image")  # a start that broke down is none
        return {"failed": np.array(1.0)}
    test = world.splits.test["as trained"][: 16 if quick else TESTED]
    scores = OutOfDistribution(limit=1000)(model, world, test)
    kinds = [kind for kind in ("cosine", "energy") if f"{kind}_artist" in scores.metrics]
    found = {f"{kind} artist": scores.examples[f"{kind}_artist"].to_numpy() for kind in kinds}
    failed = isinstance(model, EBM) and diverged(model.energy(world.images(test)))
    return found | {"failed": np.array(float(failed))}


def run(lab: Lab) -> Iterator[Result]:
    starts = {start: {"start": start, "steps": steps} for start, steps in STEPS.items()}
    runs = lab.grid(experiment, {"start": starts}, tuned=TUNED)
    few, many = LABELLED
    share = "share of questions answered rightly"
    right = runs.scores("{} {}", share)
    accuracy = runs.scores("{} {}", f"difference of differences in {share}", by_seed=np.mean)
    error = runs.scores("{} ece", "expected calibration error, 15 bins")
    blind = runs.scores("blind", share)

    def gain(better: str, worse: str, count: int, questions: str) -> Result:
        lead = right[better, count, questions] - right[worse, count, questions]
        return above(lead, name=f"{better} − {worse}, {count} labelled questions, {questions}")

    def tells(start: str, score: str) -> Score:
        """Return the AUROC of a score against the other artist's pictures; a start that broke down has none."""
        return arm(start, {seed: run.get(f"{score} artist") for seed, run in runs[start].items()}, "AUROC")

    def lost(start: str) -> Score:
        return accuracy[start, few, "as trained"] - accuracy[start, few, "held out"]

    def spread(start: str) -> np.ndarray:
        """Return how far each seed's accuracy is from the median of the seeds."""
        own = right.values((start, few, "as trained")).mean(1)
        return np.abs(own - np.median(own))

    yield from decides(
        above(
            right["cl", few, "as trained"] - right["none", few, "as trained"],
            name=f"cl − none, {few} labelled questions",
        ),
        above(tells("ebm", "energy"), 0.6, name="−E(x) tells the other artist's pictures"),
    )
    yield from beside(
        gain("cl", "none", many, "as trained"),
        gain("cl", "none", few, "held out"),
        gain("ebm", "none", few, "as trained"),
        gain("cl", "ebm", few, "as trained"),
        gain("cl", "ebm", many, "held out"),
        above(
            lost("none") - lost("cl"),
            name=f"loss on held-out combinations, none − cl, {few} labelled questions",
        ),
        above(tells("cl", "cosine"), 0.5, name="the largest cosine tells the other artist's pictures, cl"),
        above(
            per_seed(
                f"spread over seeds, ebm − cl, {few} labelled questions",
                "distance of a seed's accuracy from the median",
                spread("ebm") - spread("cl"),
            )
        ),
        below(error["ebm", few] - error["cl", few], name=f"calibration, ebm − cl, {few} labelled questions"),
        above(
            right["none", many, "as trained"] - blind["none"],
            name=f"with the picture − with another question's, {many} labelled questions, none",
        ),
    )
    failed = [float(run["failed"]) for run in runs["ebm"].values()]
    passes = SAMPLING + 2
    lab.note(
        f"Scenes of one large thing, questions of kinds {' and '.join(KINDS)}.",
        f"A residual tower with sixteen places at {SIDE} pixels; {STEPS['cl']} steps of SimCLR or {STEPS['ebm']} of",
        f"the energy-based model with {SAMPLING} Langevin steps, {BATCH} pictures each, then {TUNED} steps on {few} or",
        f"{many} labelled questions. An EBM step is {passes} passes of the tower, a SimCLR step 2: the EBM has",
        f"{STEPS['ebm'] * passes / (STEPS['cl'] * 2):.1f} times the passes and {STEPS['ebm'] / STEPS['cl']:.1f} times",
        f"the updates. {sum(failed):g} of {len(failed)} energy-based runs broke down.",
        "Spread over five seeds is an anecdote whatever its interval, and decides nothing. Constants of the paper",
        "could not be checked; supervised and ImageNet starts, and supervised energies, are not tried.",
    )

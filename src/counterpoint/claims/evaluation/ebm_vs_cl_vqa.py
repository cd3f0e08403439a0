"""EBMs vs. CL: which unlabelled start of an image tower helps to answer questions with few labelled ones?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ...catalog.evidence import Result
from ...data.worlds.scenes.world import Scenes
from ...evaluation.statistic import calibration_error
from ...evaluation.tasks.classification.out_of_distribution import OutOfDistribution
from ...methods.single.ebm import EBM, diverged
from ...networks.init import initialise
from ...networks.towers.convnet import ConvNet
from ...types import NonFiniteLoss
from ..benches.towers import SimCLR, recipe, trained
from ..benches.vqa import SIDE, SmallVQA, answer, asked, tower, train, world_of
from ..lab import Arrays, Lab, measure

CLAIM = (
    "A contrastive start without labels raises the accuracy of a model that learns to answer questions from "
    "200 labelled ones, and the energy of an energy-based start tells pictures by an artist that it has not "
    "seen."
)
REFUTED = "the contrastive start does not raise accuracy, or the AUROC of the energy is at most 0.6"


WORLD = (
    "scenes:compositions,objects=1,sizes=large,"
    "concepts=cat+dog+pig+fish+apple+banana+car+bus+key+guitar+hat+tree+ball+chair+box"
)
KINDS = ("choose colour", "choose object")
"""Kinds of questions: a small model learns them from hundreds of labels, and no guess from the words answers them."""
TESTS = {"as trained": "as trained", "held out": "colours"}
"""Test splits: of the combinations of concept and colour of training, and of those that training never shows."""
STARTS = ("none", "cl", "ebm")
SEEDS, BATCH, PRETRAINED = 5, 64, 4000
STEPS = {"cl": 300, "ebm": 120}
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
        start: ``"none"``, ``"cl"`` (SimCLR) or ``"ebm"``.
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


def run(lab: Lab) -> Sequence[Result]:
    seeds = lab.seeds(SEEDS)
    cells = lab.cells(
        experiment,
        {
            f"{start}-seed{seed}": {
                "start": start,
                "seed": seed,
                "steps": 2 if lab.quick else STEPS.get(start, 0),
                "tuned": 3 if lab.quick else TUNED,
                "quick": lab.quick,
            }
            for start in STARTS
            for seed in seeds
        },
    )

    def of(start: str, name: str) -> dict[int, np.ndarray | None]:
        return {seed: cells[f"{start}-seed{seed}"].get(name) for seed in seeds}

    def number(start: str, name: str) -> Float[np.ndarray, " seeds"]:
        return np.array([float(cells[f"{start}-seed{seed}"][name].mean()) for seed in seeds])

    def lost(start: str) -> Float[np.ndarray, " seeds"]:
        return number(start, f"{few} as trained") - number(start, f"{few} held out")

    def spread(start: str) -> Float[np.ndarray, " seeds"]:
        """Return how far each seed's accuracy is from the median of the seeds."""
        own = number(start, f"{few} as trained")
        return np.abs(own - np.median(own))

    few, many = LABELLED
    share = "share of questions answered rightly"
    failed = sum(float(cells[f"ebm-seed{s}"]["failed"]) for s in seeds)
    passes = SAMPLING + 2
    lab.note(
        f"Scenes of one large thing, questions of kinds {' and '.join(KINDS)}.",
        f"A residual tower with sixteen places at {SIDE} pixels; {STEPS['cl']} steps of SimCLR or {STEPS['ebm']} of",
        f"the energy-based model with {SAMPLING} Langevin steps, {BATCH} pictures each, then {TUNED} steps on {few} or",
        f"{many} labelled questions. An EBM step is {passes} passes of the tower, a SimCLR step 2: the EBM has",
        f"{STEPS['ebm'] * passes / (STEPS['cl'] * 2):.1f} times the passes and {STEPS['ebm'] / STEPS['cl']:.1f} times",
        f"the updates. {failed:g} of {len(seeds)} energy-based runs broke down.",
        "Spread over five seeds is an anecdote whatever its interval, and decides nothing. Constants of the paper",
        "could not be checked; supervised and ImageNet starts, and supervised energies, are not tried.",
    )
    return [
        measure.difference(
            f"cl − none, {few} labelled questions",
            share,
            of("cl", f"{few} as trained"),
            of("none", f"{few} as trained"),
            expected="above",
        ),
        measure.of_arms(
            "−E(x) tells the other artist's pictures",
            "AUROC",
            {"ebm": of("ebm", "energy artist")},
            lambda s: s["ebm"],
            expected="above",
            bound=0.6,
        ),
        *(
            measure.difference(
                f"{better} − {worse}, {count} labelled questions, {name}",
                share,
                of(better, f"{count} {name}"),
                of(worse, f"{count} {name}"),
                expected="above",
                decides=False,
            )
            for better, worse, count, name in (
                ("cl", "none", many, "as trained"),
                ("cl", "none", few, "held out"),
                ("ebm", "none", few, "as trained"),
                ("cl", "ebm", few, "as trained"),
                ("cl", "ebm", many, "held out"),
            )
        ),
        measure.over_seeds(
            f"loss on held-out combinations, none − cl, {few} labelled questions",
            f"difference of differences in {share}",
            lost("none") - lost("cl"),
            expected="above",
            decides=False,
        ),
        measure.of_arms(
            "the largest cosine tells the other artist's pictures, cl",
            "AUROC",
            {"cl": of("cl", "cosine artist")},
            lambda s: s["cl"],
            expected="above",
            bound=0.5,
            decides=False,
        ),
        measure.over_seeds(
            f"spread over seeds, ebm − cl, {few} labelled questions",
            "distance of a seed's accuracy from the median",
            spread("ebm") - spread("cl"),
            expected="above",
            decides=False,
        ),
        measure.over_seeds(
            f"calibration, ebm − cl, {few} labelled questions",
            "expected calibration error, 15 bins",
            number("ebm", f"{few} ece") - number("cl", f"{few} ece"),
            expected="below",
            decides=False,
        ),
        measure.difference(
            f"with the picture − with another question's, {many} labelled questions, none",
            share,
            of("none", f"{many} as trained"),
            of("none", "blind"),
            expected="above",
            decides=False,
        ),
    ]

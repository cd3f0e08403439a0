"""Sy-CON: a network that learns classes in turn keeps the first, by contrast with its previous self."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from counterpoint.data import load
from counterpoint.losses import MoCoLoss, SyConLoss

from .lab import (
    Lab,
    Result,
    Score,
    TrainedStudy,
    TrainingComparison,
    above,
    arm,
    below,
    decides,
    effects,
    exact,
    secondary,
)

CLAIM = (
    "On classes that come in turn, contrast with the previous network's outputs and queue forgets less of the "
    "first task than MoCo that is trained on, at its own best learning rate and at the same one."
)
REFUTED = "fine-tuning forgets no more at one of the two rates, or the loss is another"
SHARE = effects.convention("share")


TAU = 0.2
STEPS, TASKS = 320, 4
COMPARISON = TrainingComparison(
    {"fine-tuning": "moco,symmetric=true,queue=128", "Sy-CON": "sy-con,queue=128"},
    {"probe": ("logistic_*_top1", "knn_*_top1")},
    data="emoji:stream",
    changes={"batch_size": 32, "steps": STEPS, "validate_every": STEPS},
    rates=(3e-4, 1e-3, 3e-3, 1e-4),
    seeds=10,
)


def exactness() -> float:
    """Measure how far the loss is from two losses of MoCo, plasticity's and stability's, on the queues together."""
    generator = torch.Generator().manual_seed(0)
    unit = F.normalize(torch.randn(6, 2, 16, 8, generator=generator, dtype=torch.float64), dim=-1)
    q, k, p, f, new, old = (list(views) for views in unit)
    moco, terms = MoCoLoss(TAU), []
    for a, b in ((0, 1), (1, 0)):
        bank = torch.cat([new[b], old[b]])
        terms += [moco(q[a], k[b], bank), moco(p[a], f[a], bank)]
    loss = SyConLoss(TAU, stability_temperature=TAU)(q, k, p, f, new, old)
    return abs(float(loss - torch.stack(terms).sum() / 2))


def of_first_task(study: TrainedStudy, classifier: str) -> dict[str, Score]:
    """Return the accuracy of a probe of the subgroup on held-out emoji of the first task's groups, by arm."""
    data = load(COMPARISON.data)
    groups, rows = data.labels["group"].values, np.sort(data.splits.test["concepts"])
    first = np.isin(groups[rows], groups[data.splits.tasks[0]])
    outcomes = study.outcomes(study.key(f"probe {classifier}_subgroup_top1", "concepts"))
    metric = f"probe {classifier}_subgroup_top1 (concepts of the first task)"
    return {
        name: arm(
            name, {seed: None if right is None else right[first] for seed, right in runs.items()}, metric
        )
        for name, runs in outcomes.items()
    }


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    rates = {name: plan.changes["optimizer.lr"] for name, plan in study.plans.items()}
    tuned = {"fine-tuning": COMPARISON.arms["fine-tuning"]}
    same_rate = lab.study(replace(COMPARISON, arms=tuned, rates=(rates["Sy-CON"],)), "same-rate")
    classifiers = ("logistic", "knn")
    first = {classifier: of_first_task(study, classifier) for classifier in classifiers}
    first_same = {classifier: of_first_task(same_rate, classifier) for classifier in classifiers}
    every = {
        classifier: study.scores(f"probe {classifier}_subgroup_top1", "concepts")
        for classifier in classifiers
    }

    kept = "kept of the first task after the last, Sy-CON − fine-tuning"

    def own(classifier: str) -> Score:
        return first[classifier]["Sy-CON"] - first[classifier]["fine-tuning"]

    def same(classifier: str) -> Score:
        return first[classifier]["Sy-CON"] - first_same[classifier]["fine-tuning"]

    yield from decides(
        above(own("logistic"), name=kept, **SHARE),
        above(same("logistic"), name=f"{kept} at the same learning rate", **SHARE),
        below(
            exact(exactness(), "absolute difference"),
            1e-10,
            name="the loss against two of MoCo on the queues together, float64",
        ),
    )
    yield from secondary(
        above(own("knn"), name=kept),
        above(same("knn"), name=f"{kept} at the same learning rate"),
        *(
            above(
                scores["Sy-CON"] - scores["fine-tuning"],
                name="all tasks after the last, Sy-CON − fine-tuning",
            )
            for scores in every.values()
        ),
    )
    lab.note(
        f"The registered sy-con and moco (symmetric) on the stream of emoji, {TASKS} tasks of whole groups, under the",
        f"recipe seconds: batch 32, {STEPS // TASKS} steps a task, queues of 128, m = 0.99, τ = τ' = {TAU}. Learning",
        "rates by validation under a seed that is not tested "
        f"({', '.join(f'{name}: {rate:g}' for name, rate in rates.items())}). In the first task both are MoCo over",
        "both views, so that what is kept of it at the end is what forgetting has left. The comparison at the same",
        "rate was added after the first run, since validation hardly tells the rates apart.",
        "Probes of the subgroup, trained on labels of all tasks;",
        "their accuracy on all: "
        + "; ".join(f"{classifier}, {scores.means()}" for classifier, scores in every.items())
        + ". Contrast with the previous network's outputs alone (CaSSLe), and plasticity without its negatives, which",
        "were compared before, are no registered methods.",
    )

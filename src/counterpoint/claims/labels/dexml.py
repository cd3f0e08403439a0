"""DEXML: true labels of a query must not compete with each other in the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ...evaluation.classification.multilabel import precision, recall
from ...losses import DecoupledSoftmaxLoss, InfoNCELoss, MultiLabelSoftmaxLoss, OneVsAllLoss
from ...networks import initialise
from ...networks.heads import mlp
from ...pairwise.loss import Loss
from ..benches.descent import minimise
from ..lab import Arrays, Lab, Result, above, below, beside, best, decides, exact

CLAIM = (
    "Where queries have several true labels, the decoupled softmax fits them better than a softmax in which "
    "they compete: that lowers the strongest true label, the decoupled one lowers none."
)
REFUTED = (
    "the multi-positive softmax, summed or averaged, fits the training queries as well, or the signs of the "
    "gradients are not as stated"
)


STEPS = 300
QUERIES, LABELS, WIDTH = 1500, 300, 64
MANY = 10
"""Queries with at least so many true labels are looked at on their own."""
LOSSES: dict[str, Callable[[], Loss]] = {
    "decoupled": DecoupledSoftmaxLoss,
    "softmax, sum": MultiLabelSoftmaxLoss,
    "softmax, mean": lambda: MultiLabelSoftmaxLoss(reduction="mean"),
    "one-vs-all": OneVsAllLoss,
}
SOFTMAX = ("softmax, sum", "softmax, mean")


def world(
    queries: int, labels: int, seed: int
) -> tuple[Float[Tensor, "Q d"], Float[Tensor, "L d"], Bool[Tensor, "Q L"]]:
    """Draw queries with 1 to 20 true labels each by Zipf's law, whose features are the sum of the labels'."""
    rng = np.random.default_rng([seed, 13])
    features = rng.standard_normal((labels, WIDTH))
    # The k largest of log p + Gumbel noise are a draw of k without replacement.
    scores = -np.log(1 + np.arange(labels)) + rng.gumbel(size=(queries, labels))
    places = (-scores).argsort(1).argsort(1)
    targets = places < rng.integers(1, 21, queries)[:, None]
    counts = targets.sum(1, keepdims=True)
    sums = targets @ features / np.sqrt(counts) + 0.3 * rng.standard_normal((queries, WIDTH))
    return torch.from_numpy(sums).float(), torch.from_numpy(features).float(), torch.from_numpy(targets)


def fitted(loss: str, seed: int, steps: int, queries: int, labels: int) -> Arrays:
    """Train two networks on all queries at once; what they rank right, and whom the softmax pushes down."""
    features, label_features, targets = world(queries + queries // 3, labels, seed)
    towers = [mlp(WIDTH, 256, WIDTH, layers=2, norm=False) for _ in range(2)]
    for number, tower in enumerate(towers):
        initialise(tower, seed, f"tower {number}")
    objective = LOSSES[loss]()
    seen = slice(0, queries)

    def embed(part: slice) -> tuple[Tensor, Tensor]:
        return F.normalize(towers[0](features[part]), dim=-1), F.normalize(towers[1](label_features), dim=-1)

    def step(rng: np.random.Generator) -> Tensor:
        return objective(*embed(seen), targets=targets[seen])

    minimise(step, [p for tower in towers for p in tower.parameters()], steps=steps, lr=3e-3, seed=seed)
    outcomes: Arrays = {}
    for name, part in (("training", seen), ("held out", slice(queries, None))):
        with torch.no_grad():
            q, z = embed(part)
        true, counts = targets[part], targets[part].sum(1)
        right = recall(q @ z.T, true, counts)
        outcomes[f"{name} R@|P|"] = np.array(right.mean())
        outcomes[f"{name} R@|P|, many"] = np.array(right[(counts >= MANY).numpy()].mean())
        outcomes[f"{name} P@5"] = np.array(precision(q @ z.T, true, 5).mean())
    with torch.no_grad():
        q, z = embed(seen)
    logits = q @ z.T / 0.05
    for name in ("decoupled", *SOFTMAX):
        strongest, largest = pushed(LOSSES[name](), logits, targets[seen])
        outcomes[f"{name} pushes the strongest"] = np.array(strongest)
        outcomes[f"{name} largest gradient"] = np.array(largest)
    return outcomes


def pushed(
    objective: Loss, logits: Float[Tensor, "Q L"], targets: Bool[Tensor, "Q L"]
) -> tuple[float, float]:
    """Measure how a loss moves true labels, given the logits.

    Returns:
        Of the queries with several true labels, the share whose strongest one a descent would lower; and the
        largest derivative in the logit of any true label.
    """
    tau = 0.05
    # Against unit vectors of its own, a query is its logits times τ.
    q = (logits.double() * tau).requires_grad_()
    objective.double()(q, torch.eye(q.shape[1], dtype=torch.float64), targets=targets).backward()
    assert q.grad is not None
    gradient = q.grad * tau
    several = targets.sum(1) > 1
    strongest = logits.masked_fill(~targets, -torch.inf).argmax(1, keepdim=True)
    lowered = gradient.gather(1, strongest)[several, 0] > 0
    return float(lowered.double().mean()), float(gradient[targets].max())


def single(n: int, labels: int) -> float:
    """Return the relative difference of the decoupled softmax from InfoNCE where every query has one true label."""
    generator = torch.Generator().manual_seed(0)
    q = F.normalize(torch.randn(n, 8, generator=generator, dtype=torch.float64), dim=-1)
    z = F.normalize(torch.randn(labels, 8, generator=generator, dtype=torch.float64), dim=-1)
    targets = torch.eye(n, labels, dtype=torch.bool)
    expected = F.cross_entropy(q @ z.T / 0.05, torch.arange(n))
    loss = DecoupledSoftmaxLoss()(q, z, targets=targets)
    in_batch = DecoupledSoftmaxLoss()(q, z[:n], targets=targets[:, :n])
    one_way = InfoNCELoss(0.05, weights=(1.0, 0.0))(q, z[:n])
    return max(abs(float(loss / expected) - 1), abs(float(in_batch / one_way) - 1))


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(fitted, {"loss": tuple(LOSSES)}, steps=STEPS, queries=QUERIES, labels=LABELS)
    seeds = runs["decoupled"]
    largest = max(float(runs[loss][seed]["decoupled largest gradient"]) for loss in LOSSES for seed in seeds)
    pushed_down = runs.scores(
        "softmax, sum pushes the strongest", "share of the queries with several true labels"
    )
    fit = runs.scores("training R@|P|", "training R@|P|, synthetic queries")

    def over_softmax(key: str) -> Result:
        many = f" with {MANY} true labels or more" if key.endswith("many") else ""
        scores = runs.scores(key, f"{key.removesuffix(', many')}, synthetic queries{many}")
        return above(
            scores["decoupled"] - best(scores[loss] for loss in SOFTMAX),
            name=f"1: decoupled − the better softmax, {key}",
        )

    yield from decides(
        over_softmax("training R@|P|"),
        below(
            exact(single(12, 20), "relative difference"),
            1e-6,
            name="1: decoupled against InfoNCE with one true label per query",
        ),
        above(
            pushed_down["softmax, sum"],
            name="2: the softmax's sum lowers the strongest true label, at logits it has fitted",
        ),
        below(
            exact(largest, "largest derivative in a true label's logit"),
            1e-12,
            name="2: the decoupled softmax lowers none, at the logits of every network",
        ),
    )
    yield from beside(
        *(
            over_softmax(key)
            for key in (
                "training R@|P|, many",
                "training P@5",
                "held out R@|P|",
                "held out R@|P|, many",
                "held out P@5",
            )
        ),
        above(fit["decoupled"] - fit["one-vs-all"], name="1: decoupled − one-vs-all, training R@|P|"),
    )
    lab.note(
        f"{QUERIES:,} training and {QUERIES // 3} held-out queries with 1 to 20 of {LABELS} labels, drawn by Zipf's",
        "law anew for every seed; a query's features are the sum of its labels' plus noise. Two two-layer networks,",
        f"temperature 0.05, {STEPS} steps of Adam at 0.003 on all queries at once, the same for all losses. The",
        f"better of the two softmax losses is taken in every seed. R@|P| on training queries: {fit.means()}. The soft",
        "top-k loss, several times as slow, was not trained.",
    )

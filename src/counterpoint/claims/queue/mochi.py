"""MoCHi: negatives mixed of the hardest keys of a queue are harder than any of them, and do the features no harm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...catalog.evidence import Result
from ...diagnostics import uniformity
from ...losses import MoCHiLoss
from ...losses.queue.mochi import draw
from ...networks import initialise
from ...networks.heads import mlp
from ...statistics import linear
from ..benches import emoji_views as pictures
from ..benches import queues as keys
from ..benches.emoji import SIDE
from ..benches.exact import random_views
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Negatives mixed of the hardest keys give features at least as good as MoCo's, within one artist's emoji "
    "and from one artist to another; mixtures of two keys are often harder than every key, and those with the "
    "query more often still."
)
REFUTED = (
    "features are worse than both MoCo's and MoCo's with a queue larger by as many keys, mixtures with the "
    "query are no harder than those of two keys, or one is less similar to the query than its key"
)


SEEDS, STEPS, BATCH = 5, 800, 32
RATE, TAU, MOMENTUM, WIDTH = 1e-3, 0.2, 0.99, 32
SIZE = 512
HARDEST = PAIRS = SIZE // 16
WITH_QUERY = HARDEST // 8
WARMUP = 0.1
MARGIN = 0.02
BASELINES = ("MoCo", "MoCo, larger queue")
ARMS = ("MoCHi", *BASELINES, "MoCHi, oracle", "MoCo, oracle")


def mixtures(
    q: Float[Tensor, "B d"], hardest: Float[Tensor, "B N d"], drawn: dict[str, Tensor]
) -> tuple[Float[Tensor, "B s d"], Float[Tensor, "B t d"]]:
    """Return the mixtures that `draw` has drawn, as points: of two of the hardest keys, and of one and the query."""

    def key(index: Tensor) -> Tensor:
        return hardest.gather(1, index[..., None].expand(-1, -1, hardest.shape[2]))

    i, j = drawn["pairs"].unbind(-1)
    a, b = drawn["shares"][..., None], drawn["query_shares"][..., None]
    of_keys = a * key(i) + (1 - a) * key(j)
    with_query = b * q[:, None] + (1 - b) * key(drawn["partners"])
    return F.normalize(of_keys, dim=-1), F.normalize(with_query, dim=-1)


def hardness(q: Float[Tensor, "B d"], queue: Float[Tensor, "K d"], seed: int) -> tuple[float, float]:
    """Return the shares of both kinds of mixture that are more similar to the query than every key is."""
    drawn = draw(q, HARDEST, PAIRS, WITH_QUERY, torch.Generator().manual_seed(seed))
    top = (q @ queue.T).topk(HARDEST)
    kinds = mixtures(q, queue[top.indices], drawn)
    found = [torch.einsum("bd,bsd->bs", q, points) > top.values[:, :1] for points in kinds]
    return float(found[0].double().mean()), float(found[1].double().mean())


def contrast(arm: str, seed: int, steps: int) -> Arrays:
    """Train one encoder on one artist's emoji.

    Returns:
        ``linear`` and ``transfer``: whether a probe of the group, of that artist's pictures, is right of the
        held-out ones by that artist and by the other; their ``uniformity``; the ``hardness`` of both mixtures.
    """
    data, generator = pictures.emoji("group", 1), torch.Generator().manual_seed(seed)
    own, other = data.pictures
    classes = torch.from_numpy(data.classes)
    network = mlp(3 * SIDE * SIDE, 128, WIDTH, layers=2, norm=False)
    initialise(network, seed)
    size = SIZE + (PAIRS + WITH_QUERY) * (arm == "MoCo, larger queue")
    model = keys.MomentumContrast(network, WIDTH, size=size, momentum=MOMENTUM, seed=seed)
    objective, step = MoCHiLoss(TAU, hardest=HARDEST), count()

    def views(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        ids = torch.from_numpy(rng.choice(data.train, BATCH, replace=False))
        return pictures.changed(own[ids], rng), pictures.changed(own[ids], rng), ids

    def loss(q: Tensor, k: Tensor, ids: Tensor) -> Tensor:
        queue_ids = model.queue.ids
        if arm.endswith("oracle"):  # keys of the query's class are no negatives, and are not mixed
            ids, queue_ids = classes[ids], torch.where(queue_ids < 0, -1, classes[queue_ids])
        mix = arm.startswith("MoCHi") and next(step) >= WARMUP * steps and model.queue.full
        drawn = draw(q, HARDEST, PAIRS, WITH_QUERY, generator) if mix else {}
        return objective(q, k, model.queue.keys, ids, queue_ids, **drawn)

    keys.train(model, loss, views, steps=steps, lr=RATE, seed=seed)
    rng = np.random.default_rng([seed, 2])
    with torch.no_grad():
        read = pictures.linear_probe(network(own[data.train]), data.classes[data.train])
        right = {
            name: (read(network(seen[data.test])) == data.classes[data.test]).astype(float)
            for name, seen in {"linear": own, "transfer": other}.items()
        }
        q = model.queries(pictures.changed(own[data.test], rng))
        shares = hardness(q, model.queue.keys, seed)
        return {**right, "hardness": np.array(shares), "uniformity": np.array(uniformity(q))}


def exactness() -> tuple[float, float]:
    """Return the most by which a mixture of random vectors with the query is less like the query than its key is,
    and the difference of the loss to one of mixtures that are formed."""
    q, k = random_views(16, 8)
    queue = random_views(64, 8)[1]
    drawn = draw(q, 16, 40, 40, torch.Generator().manual_seed(0))
    top = (q @ queue.T).topk(16)
    of_keys, with_query = (torch.einsum("bd,bsd->bs", q, h) for h in mixtures(q, queue[top.indices], drawn))
    lost = float((top.values.gather(1, drawn["partners"]) - with_query).max())
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T, of_keys, with_query], 1) / TAU
    expected = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64))
    return max(lost, 0.0), abs(float(MoCHiLoss(TAU, hardest=16)(q, k, queue, **drawn) - expected))


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 25 if lab.quick else STEPS
    found = lab.cells(
        contrast,
        {
            f"{arm.replace(', ', '-').replace(' ', '-')}-seed{seed}": {
                "arm": arm,
                "seed": seed,
                "steps": steps,
            }
            for arm in ARMS
            for seed in seeds
        },
    )
    runs = dict(zip(((arm, seed) for arm in ARMS for seed in seeds), found.values(), strict=True))
    metrics = {
        "linear": "accuracy of a probe on the group, held-out emoji of the same artist",
        "transfer": "accuracy of that probe on the other artist's held-out emoji",
    }
    results = []
    for key, metric in metrics.items():
        arms = {arm: {seed: runs[arm, seed][key] for seed in seeds} for arm in ARMS}
        results += [
            measure.of_arms(
                "1: MoCHi − the lower of MoCo and MoCo with a larger queue",
                metric,
                {arm: arms[arm] for arm in ("MoCHi", *BASELINES)},
                lambda scores: scores["MoCHi"] - min(scores[arm] for arm in BASELINES),
                expected="above",
                bound=-MARGIN,
            ),
            *(
                measure.difference(
                    f"1: MoCHi − {arm}", metric, arms["MoCHi"], arms[arm], expected="above", decides=False
                )
                for arm in BASELINES
            ),
            measure.of_arms(
                "3: gain over MoCo without negatives of the query's class − the gain with them",
                metric,
                {arm: outcomes for arm, outcomes in arms.items() if arm != "MoCo, larger queue"},
                linear({"MoCHi, oracle": 1, "MoCo, oracle": -1, "MoCHi": -1, "MoCo": 1}),
                expected="above",
                decides=False,
            ),
        ]
    of_keys, with_query = np.array([runs["MoCHi", seed]["hardness"] for seed in seeds]).T
    harder = "share of mixtures more similar to the query than every key"
    spread = [float(runs["MoCHi", s]["uniformity"] - runs["MoCo", s]["uniformity"]) for s in seeds]
    results += [
        measure.over_seeds(
            "1: uniformity, MoCHi − MoCo",
            "uniformity, t = 2, held-out emoji",
            spread,
            expected="below",
            decides=False,
        ),
        measure.over_seeds("2: mixtures of two keys", harder, of_keys, expected="above"),
        measure.over_seeds(
            "2: mixtures with the query − mixtures of two keys",
            harder,
            with_query - of_keys,
            expected="above",
        ),
    ]
    lost, difference = exactness()
    lab.note(
        "1 to 3: two-layer networks on 16 × 16 pixels of one artist's emoji that are not people; views by",
        f"{', '.join(pictures.CHANGES)}; batch {BATCH}, {steps} steps of Adam at {RATE:g}, m = {MOMENTUM}, τ =",
        f"{TAU}, K = {SIZE}, N = s = {HARDEST}, s' = {WITH_QUERY}, no mixing in the first tenth of the steps; the",
        f"larger queue has {SIZE + PAIRS + WITH_QUERY} keys. A picture's own keys are no negatives of it. Two points",
        "less than both baselines is counted as worse. 2 is measured at the end of training, on views of held-out",
        "pictures. 3: keys of the query's class are no negatives at all, in either arm; nothing is named that would",
        "refute it.",
    )
    return [
        *results,
        measure.exact(
            "2: similarity to the query that a key loses by being mixed with it, random unit vectors",
            "largest loss of cosine",
            lost,
            expected="below",
            bound=1e-12,
        ),
        measure.exact(
            "2: the loss against one of mixtures that are formed, float64",
            "absolute difference",
            difference,
            expected="below",
            bound=1e-10,
        ),
    ]

"""Sy-CON: a network that learns classes in turn keeps the first, by contrast with its previous self."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from ...catalog.evidence import Result
from ...losses import MoCoLoss, SyConLoss
from ...networks import KeyQueue, MomentumCopy, initialise
from ...networks.heads import mlp
from ..benches import digits
from ..lab import Arrays, Lab, measure

CLAIM = (
    "On classes that come in turn, contrast with the previous network's outputs and queue forgets less of the "
    "first task than MoCo that is trained on."
)
REFUTED = "fine-tuning forgets no more, or the loss is another"


SEEDS, STEPS, BATCH = 5, 200, 32
RATE, TAU, MOMENTUM, WIDTH, SIZE = 3e-3, 0.2, 0.99, 32, 128
TASKS = 5
"""Two digits each, in an order drawn by the seed."""
ARMS = ("Sy-CON", "fine-tuning", "CaSSLe-style", "Sy-CON, plasticity without previous negatives")


class Learner:
    """An encoder in a stream of tasks, its slow copy, and what it keeps of the task before.

    Args:
        arm: one of ``ARMS``; how it learns from the second task on.
        seed: of the initial weights and of the queues.
    """

    def __init__(self, arm: str, seed: int) -> None:
        self.arm, self.seed, self.task = arm, seed, 0
        self.network = digits.encoder(seed)
        self.slow = MomentumCopy(self.network, MOMENTUM)
        self.queues = self._queues("queue")
        self.previous: nn.Module | None = None

    def _queues(self, name: str) -> list[KeyQueue]:
        queues = [KeyQueue(SIZE, WIDTH) for _ in range(2)]
        for view, queue in enumerate(queues):
            initialise(queue, self.seed, f"{name} {view}")
        return queues

    def begin(self) -> None:
        """Begin a new task: the network becomes the previous one, with a new predictor and empty queues."""
        self.task += 1
        self.previous = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.predictor = mlp(WIDTH, 128, WIDTH, layers=2)
        initialise(self.predictor, self.seed, f"predictor {self.task}")
        self.previous_queues = self._queues(f"previous {self.task}")

    def learn(self, rows: Int[np.ndarray, " n"], steps: int, rng: np.random.Generator) -> None:
        """Train on two views of the digits in ``rows`` by Adam."""
        x, _ = digits.digits()
        parameters = [*self.network.parameters()]
        if self.previous is not None:
            parameters += self.predictor.parameters()
        optimizer = torch.optim.Adam(parameters, RATE)
        for _ in range(steps):
            ids = torch.from_numpy(rng.choice(rows, BATCH, replace=False))
            views = [digits.view(x[ids], rng) for _ in range(2)]
            k = [F.normalize(self.slow(view), dim=-1) for view in views]
            f = [] if self.previous is None else [F.normalize(self.previous(view), dim=-1) for view in views]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(self.loss(views, k, f, ids))
            optimizer.step()
            self.slow.update()
            for queue, keys in zip(self.queues, k, strict=True):
                queue.enqueue(keys, ids)
            for queue, keys in zip(self.previous_queues if f else [], f, strict=True):
                queue.enqueue(keys, ids)

    def loss(self, views: Sequence[Tensor], k: Sequence[Tensor], f: Sequence[Tensor], ids: Tensor) -> Tensor:
        """Compute the loss of two views, of their momentum keys and of what the previous network makes of the views."""
        moco, new = MoCoLoss(TAU), self.queues
        q = [F.normalize(self.network(view), dim=-1) for view in views]
        if not f or self.arm == "fine-tuning":
            return torch.stack(
                [moco(q[a], k[b], new[b].keys, ids, new[b].ids) for a, b in ((0, 1), (1, 0))]
            ).mean()
        p, old = [F.normalize(self.predictor(z), dim=-1) for z in q], self.previous_queues
        if self.arm == "Sy-CON":
            banks = [[queue.keys for queue in queues] for queues in (new, old)]
            bank_ids = [[queue.ids for queue in queues] for queues in (new, old)]
            return SyConLoss(TAU, stability_temperature=TAU)(q, k, p, f, *banks, ids, *bank_ids)
        terms = []
        for a, b in ((0, 1), (1, 0)):
            terms.append(moco(q[a], k[b], new[b].keys, ids, new[b].ids))
            kept = [old[b]] if self.arm == "CaSSLe-style" else [old[b], new[b]]
            bank = torch.cat([queue.keys for queue in kept])
            terms.append(moco(p[a], f[a], bank, ids, torch.cat([queue.ids for queue in kept])))
        return torch.stack(terms).sum() / 2


def stream(seed: int) -> list[Int[np.ndarray, " n"]]:
    """Return the training rows of each task."""
    classes, rows = digits.digits()[1], digits.split()[0]
    order = np.random.default_rng([seed, 4]).permutation(10).reshape(TASKS, -1)
    return [rows[np.isin(classes[rows], task)] for task in order]


def continual(arm: str, seed: int, steps: int) -> Arrays:
    """Train one encoder on one task after another.

    Returns:
        ``correct``: whether a probe on labels of all digits is right of each test digit, after the last task; and
        its accuracy on the digits of the first task, ``after first`` and ``after last``.
    """
    tasks, rng = stream(seed), np.random.default_rng(seed)
    classes, test = digits.digits()[1], digits.split()[1]
    learner = Learner(arm, seed)
    learner.learn(tasks[0], steps, rng)
    early = digits.probe(learner.network, seed)["correct"]
    for rows in tasks[1:]:
        learner.begin()
        learner.learn(rows, steps, rng)
    late = digits.probe(learner.network, seed)["correct"]
    first = np.isin(classes[test], classes[tasks[0]])
    return {
        "correct": late,
        "after first": np.array(early[first].mean()),
        "after last": np.array(late[first].mean()),
    }


def exactness() -> float:
    """Measure how far the loss is from two losses of MoCo, plasticity's and stability's, on the queues together."""
    generator = torch.Generator().manual_seed(0)
    unit = F.normalize(torch.randn(6, 2, 16, 8, generator=generator, dtype=torch.float64), dim=-1)
    q, k, p, f, new, old = (list(views) for views in unit)
    moco, terms = MoCoLoss(TAU), []
    for a, b in ((0, 1), (1, 0)):
        bank = torch.cat([new[b], old[b]])
        terms += [moco(q[a], k[b], bank), moco(p[a], f[a], bank)]
    found = SyConLoss(TAU, stability_temperature=TAU)(q, k, p, f, new, old)
    return abs(float(found - torch.stack(terms).sum() / 2))


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 5 if lab.quick else STEPS
    found = lab.cells(
        continual,
        {
            f"arm{number}-seed{seed}": {"arm": arm, "seed": seed, "steps": steps}
            for number, arm in enumerate(ARMS)
            for seed in seeds
        },
    )
    runs = dict(zip(((arm, seed) for arm in ARMS for seed in seeds), found.values(), strict=True))

    def forgotten(arm: str) -> np.ndarray:
        return np.array([float(runs[arm, s]["after first"] - runs[arm, s]["after last"]) for s in seeds])

    def average(name: str, treatment: str, baseline: str, bound: float = 0.0) -> Result:
        return measure.difference(
            name,
            f"accuracy of a probe on {digits.LABELLED} labels, all digits, after the last task",
            *({seed: runs[arm, seed]["correct"] for seed in seeds} for arm in (treatment, baseline)),
            expected="above",
            bound=bound,
            decides=False,
        )

    treatment, finetuning, cassle, ablation = ARMS
    forgetting = "loss of that probe's accuracy on the first task's digits, from its end to the last's"
    lab.note(
        f"Two-layer networks on views (shift, noise, blanks) of scikit-learn's digits, {TASKS} tasks of two digits",
        f"in an order drawn by the seed, {steps} steps of Adam at {RATE:g} in each, batch {BATCH}, queues of {SIZE},",
        f"m = {MOMENTUM}, τ = τ' = {TAU}; a digit's own keys are no negatives of it. All arms are the same through",
        "the first task. CaSSLe-style: MoCo and a contrast with the previous network's outputs alone. A fine-tuned",
        "network that forgets no more is what is said to refute the claim; the other comparisons are reported",
        f"beside it. Forgotten in the mean: {', '.join(f'{arm} {forgotten(arm).mean():.3f}' for arm in ARMS)}.",
    )
    return [
        measure.over_seeds(
            "forgetting, Sy-CON − fine-tuning",
            forgetting,
            forgotten(treatment) - forgotten(finetuning),
            expected="below",
        ),
        average("average, Sy-CON − fine-tuning", treatment, finetuning),
        average("average, Sy-CON − CaSSLe-style", treatment, cassle, bound=-0.02),
        *(
            measure.over_seeds(
                f"forgetting, Sy-CON − {name}",
                forgetting,
                forgotten(treatment) - forgotten(arm),
                expected="below",
                decides=False,
            )
            for name, arm in (
                ("CaSSLe-style", cassle),
                ("without previous negatives in plasticity", ablation),
            )
        ),
        measure.exact(
            "the loss against two of MoCo on the queues together, float64",
            "absolute difference",
            exactness(),
            expected="below",
            bound=1e-10,
        ),
    ]

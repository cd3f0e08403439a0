"""Condensed pictures: a few of each class, whose gradients are those of all its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...forms import Count, Natural
from ...networks.init import seeded
from ...networks.plain_convnet import plain_convnet

PAPERS = {"dcc": ("condensed", "mismatch", "distance")}

Order = Literal["dcc", "dc"]
"""Orders of sum and distance: ``dcc`` compares the gradients summed over classes, ``dc`` compares class by class."""
Gradients = Sequence[Tensor]
"""A gradient for each parameter of a network."""

_LOOPS = {1: (10, 5), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""From pictures a class to steps on them with one network, and epochs for which the network is trained between two.

These are the released ones. A number of pictures between two of these has the loops of the smaller one.
"""
_WARM_UP = 0.25, 10
"""The share of the iterations that begin class by class, and how many of their steps do."""
_BATCH = 256


@dataclass(frozen=True)
class Condensed:
    """The state between two iterations.

    Attributes:
        pictures: ``(C, k, 3, s, s)``, with the mean and the deviation of the real ones taken off.
        momentum: of the optimiser that moves them; of the same shape.
        iteration: how many are done.
    """

    pictures: Float[Tensor, "C k 3 s s"]
    momentum: Float[Tensor, "C k 3 s s"]
    iteration: int = 0


class RealPictures:
    """The real pictures of every class, seen with their mean and deviation taken off.

    Args:
        classes: the pictures of each class.
    """

    def __init__(self, classes: Sequence[UInt8[Tensor, "_ 3 s s"]]) -> None:
        self.classes = classes
        totals = [torch.stack([p.float().sum((0, 2, 3)), p.float().square().sum((0, 2, 3))]) for p in classes]
        first, second = torch.stack(totals).sum(0) / sum(p[:, 0].numel() for p in classes) / 255
        self.mean, self.deviation = (
            first[:, None, None],
            (second / 255 - first.square()).sqrt()[:, None, None],
        )
        self.deviation.clamp_(min=1e-3)  # of pictures of one colour

    def seen(self, pictures: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
        return (pictures.float() / 255 - self.mean) / self.deviation

    def shown(self, pictures: Float[Tensor, "*n 3 s s"]) -> UInt8[Tensor, "*n 3 s s"]:
        """Return pictures as they were before `seen`; what lies outside the range of colours is cut."""
        return ((pictures * self.deviation + self.mean) * 255).round().clamp(0, 255).to(torch.uint8)

    def some(self, number: int, most: int) -> Float[Tensor, "n 3 s s"]:
        """Draw pictures of a class from torch's generator, as many as there are or ``most``."""
        pictures = self.classes[number]
        return self.seen(pictures[torch.randperm(len(pictures))[:most]])


def distance(ours: Gradients, theirs: Gradients) -> Float[Tensor, ""]:
    """Compute Σ_layers Σ_rows (1 − cos(our row, their row)), a row being the weights into one output.

    Vectors, such as biases, do not count.
    """
    total = ours[0].new_zeros(())
    for a, b in zip(ours, theirs, strict=True):
        if a.ndim > 1:
            a, b = a.flatten(1), b.flatten(1)
            lengths = a.norm(dim=1) * b.norm(dim=1)
            total = total + (1 - (a * b).sum(1) / (lengths + 1e-6)).sum()
    return total


def mismatch(ours: Sequence[Gradients], theirs: Sequence[Gradients], order: Order) -> Float[Tensor, ""]:
    """Compute how far gradients of condensed pictures are from those of real ones, both given class by class.

        dc   Σ_c D(g_c, g*_c)            dcc   D( (1/C) Σ_c g_c, (1/C) Σ_c g*_c )

    The order of sum and distance is all that differs: what all classes share cancels in the second one, and it has one
    distance where the first has C, so that its steps are up to C times shorter.
    """
    if order == "dc":
        return torch.stack([distance(a, b) for a, b in zip(ours, theirs, strict=True)]).sum()
    mean_ours, mean_theirs = (
        [torch.stack(layer).mean(0) for layer in zip(*each, strict=True)] for each in (ours, theirs)
    )
    return distance(mean_ours, mean_theirs)


def gradients(
    network: nn.Module, pictures: Float[Tensor, "n 3 s s"], number: int, *, graph: bool
) -> Gradients:
    """Return the gradient of the mean cross-entropy of pictures of one class."""
    loss = F.cross_entropy(network(pictures), torch.full((len(pictures),), number))
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=graph)


def train(network: nn.Module, pictures: Float[Tensor, "n 3 s s"], numbers: Tensor, epochs: Count) -> None:
    """Train a network that is evaluated: SGD with momentum 0.9 and weight decay 5e-4, at 0.01 throughout.

    The release divides the rate by ten after half of the epochs.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    _fit(network, optimiser, pictures, numbers, epochs)


def _fit(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    pictures: Float[Tensor, "n 3 s s"],
    numbers: Tensor,
    epochs: Count,
) -> None:
    """Train a network on pictures, in an order from torch's generator."""
    for _ in range(epochs):
        for part in torch.split(torch.randperm(len(pictures)), _BATCH):
            optimiser.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(pictures[part]), numbers[part]))
            optimiser.step()


def start(real: RealPictures, per_class: Count, seed: Natural = 0) -> Condensed:
    """Return real pictures drawn at random: where condensing starts, and a baseline."""
    with seeded(seed, "condensed pictures"):
        pictures = torch.stack([real.some(number, per_class) for number in range(len(real.classes))])
    return Condensed(pictures, torch.zeros_like(pictures))


def herded(
    real: RealPictures, per_class: Count, seed: Natural = 0, *, width: Count = 128, epochs: Count = 20
) -> Condensed:
    """Return the real pictures whose mean feature is nearest to their class's, each chosen given those before it.

    Features are of a network trained on all pictures. Source: Welling, "Herding dynamical weights to learn" (2009).
    """
    with seeded(seed, "herded pictures"):
        network = plain_convnet(len(real.classes), real.classes[0].shape[-1], width)
        seen = [real.seen(pictures) for pictures in real.classes]
        numbers = torch.cat([torch.full((len(p),), c) for c, p in enumerate(seen)])
        train(network, torch.cat(seen), numbers, epochs)
    chosen = []
    for pictures in seen:
        with torch.no_grad():
            features = torch.cat([network[:-1](part) for part in torch.split(pictures, _BATCH)])
        mean, total, places = features.mean(0), torch.zeros_like(features[0]), list[int]()
        for size in range(1, per_class + 1):
            away = (mean - (total + features) / size).norm(dim=1)
            away[places] = torch.inf
            places.append(int(away.argmin()))
            total += features[places[-1]]
        chosen.append(pictures[places])
    pictures = torch.stack(chosen)
    return Condensed(pictures, torch.zeros_like(pictures))


def condensed(
    real: RealPictures,
    begun: Condensed,
    order: Order = "dcc",
    *,
    iterations: Count = 200,
    seed: Natural = 0,
    width: Count = 128,
    batch: Count = 256,
) -> Iterator[Condensed]:
    """Move pictures until gradients of networks at their start and in their training are those of real pictures.

    Every iteration takes a new network and moves the pictures by its gradients in several steps. Between two steps the
    network is trained on the pictures by plain SGD at 0.01. Steps and epochs are those of the released code: 10 and 5
    below ten pictures a class, 10 and 50 from ten on, more steps and fewer epochs from twenty on. For `mismatch` by
    ``dcc`` the first quarter of the iterations begins with ten steps class by class, the warm-up. The paper takes 1,000
    iterations, and further augmentations, which are left out here.

    An iteration's draws follow from the seed and its number: one that starts from any state yielded here goes on as if
    it had not stopped.

    Args:
        real: pictures to be condensed.
        begun: where to start; see `start`.
        order: of sum and distance.
        iterations: of the whole.
        seed: of networks and draws.
        width: channels of the networks.
        batch: real pictures of each class in a step, at most.

    Yields:
        The state after every iteration.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), arXiv 2202.02916; ``dc``: Zhao et al.
    (2021), arXiv 2006.05929.
    """
    pictures = begun.pictures.clone().requires_grad_()
    optimiser = torch.optim.SGD([pictures], lr=0.1, momentum=0.5)
    optimiser.state[pictures]["momentum_buffer"] = begun.momentum.clone()
    classes, per_class = pictures.shape[:2]
    steps, epochs = _LOOPS[max(size for size in _LOOPS if size <= per_class)]
    numbers = torch.arange(classes).repeat_interleave(per_class)
    share, warm = _WARM_UP
    for iteration in range(begun.iteration, iterations):
        with seeded(seed, f"condensing {iteration}"):
            network = plain_convnet(classes, pictures.shape[-1], width)
            trained = torch.optim.SGD(network.parameters(), lr=0.01)
            for step in range(steps):
                theirs = [gradients(network, real.some(c, batch), c, graph=False) for c in range(classes)]
                ours = [gradients(network, pictures[c], c, graph=True) for c in range(classes)]
                warming = iteration < share * iterations and step < warm
                optimiser.zero_grad()
                difference = mismatch(ours, theirs, "dc" if warming else order)
                torch.autograd.backward(difference, inputs=[pictures])
                optimiser.step()
                if step < steps - 1:
                    _fit(network, trained, pictures.detach().flatten(0, 1), numbers, epochs)
        momentum = optimiser.state[pictures]["momentum_buffer"]
        yield Condensed(pictures.detach().clone(), momentum.clone(), iteration + 1)

"""RADIO: one tower that predicts the features of several frozen teachers, at several sizes of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Natural, NonNegative
from ..networks.base import Towers
from ..networks.heads import Linear, TargetHead
from ..networks.phi_s import PHIS
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples, View
from ._taught import PATCHES, SUMMARY, TaughtMethod, cosine_distances, resized
from .base import ONCE
from .frozen import Teacher
from .tower_method import paired

TEACHER = "teacher."
"""Prefix of the names of the teachers' outputs."""


class Radio(TaughtMethod):
    """A student with two adaptors for each teacher, one for pictures and one for patches, at every size.

        L = Σ_i mean over sizes of  summary · mean (1 − cos(h_i(f(x)), s_i)) + patches · mean (g_i(f(x)_p) − T_i(t_ip))²

    f is the student, h_i and g_i are its adaptors for teacher i, s_i and t_ip the teacher's features of the picture and
    of its patches. T_i is PHI-S (`counterpoint.networks.phi_s.PHIS`): it gives all channels of all teachers one
    variance. It is computed once, before the first step. Teachers see pictures of the tower's size, the student those
    of all ``sizes``; the larger of two grids of patches is resized to the smaller. A user gets the tower's own
    features.

    Args:
        towers: the image tower, by its column.
        recipe: gives the pictures that a teacher sees at a time.
        teacher: one or more, joined with ``+``: runs, or image towers with their weights.
        sizes: sides of the student's pictures as shares of the tower's, joined with ``+``.
        each: the sizes at which a teacher teaches: every one, or a size of its own, in their order. The latter is a
            control.
        targets: features of patches after PHI-S, or as they are.
        summary: weight of the loss of pictures.
        patches: weight of the loss of patches.
        hidden: width of the adaptors, which have two linear layers; 0 for one layer.
        sample: pictures that PHI-S is computed on, at most.

    Raises:
        ValueError: for sizes that are no shares or that the tower cannot take, other than one size for each teacher
            with ``each=own``, and a teacher that cannot be read, takes pictures of another size, or has no features of
            patches.

    Source: Heinrich et al., "RADIO Amplified" (2024), arXiv 2412.07679. The losses and their weights are from memory of
    the paper; the release has no training. The sizes of a step share its pictures; in the paper they come in separate
    batches. Mosaics and the merging of tokens are left out.
    """

    family = "images"
    papers = ("radio-amplified",)
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        sizes: str = "0.5+1",
        each: Literal["all", "own"] = "all",
        targets: Literal["phi-s", "raw"] = "phi-s",
        summary: NonNegative = 1.0,
        patches: NonNegative = 1.0,
        hidden: Natural = 128,
        sample: Count = 4096,
    ) -> None:
        super().__init__(towers)
        ((self.column, tower),) = towers.items()
        self.teacher = Teacher("teacher", teacher, self.image_tower, recipe.microbatch)
        count = len(self.teacher.names)
        self.views = {**paired(towers), **self._smaller(sizes)}
        self.shown = [self.column if size == 1 else f"{self.column}.{size:g}" for size in shares(sizes)]
        if each == "own" and len(self.shown) != count:
            raise ValueError(
                f"each=own: {count} teachers need as many sizes, and sizes={sizes} are {len(self.shown)}"
            )
        self.taught = [self.shown if each == "all" else [self.shown[i]] for i in range(count)]
        self.sample = sample
        self.weights = {SUMMARY: summary, PATCHES: patches}
        widths = self.teacher.widths or (None,) * count
        self.adaptors = nn.ModuleDict(
            {
                kind: nn.ModuleList(_adaptor(tower.width, hidden, width) for width in widths)
                for kind in self.weights
            }
        )
        self.transforms = nn.ModuleList(PHIS(width) for width in widths if targets == "phi-s")
        self._errors: dict[str, Tensor] = {}

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Fit PHI-S to the teachers' features of patches, by sums in float64."""
        if not len(self.transforms):
            return
        every = max(len(examples.ids) // self.sample, 1)
        chosen = examples.ids[::every][: self.sample]
        sums = [torch.zeros(width + 1, width + 1, dtype=torch.float64) for width in self.teacher.widths]

        def add(batch: Batch) -> Tensor:
            images = batch[self.column][torch.isin(batch.ids, chosen.to(batch.ids.device))]
            if len(images):
                for total, states in zip(sums, self.teacher(images), strict=True):
                    y = F.pad(states.patches.flatten(0, 1).double(), (0, 1), value=1.0)
                    total += (y.T @ y).cpu()
            return batch.ids

        examples.map(add)
        device, ranks = examples.ids.device, Ranks.present()
        for number, total in enumerate(sums):
            transform = self._transform(number)
            assert transform is not None
            total = ranks.total(total.to(transform.mean.device)).to(device)
            count, mean = total[-1, -1], total[-1, :-1] / total[-1, -1]
            covariance = (total[:-1, :-1] - count * torch.outer(mean, mean)) / (count - 1)
            transform.fit(mean, covariance)

    def targets(self, batch: Batch) -> Embeddings:
        outputs: Embeddings = {}
        for number, states in enumerate(self.teacher(batch[self.column])):
            grid, transform = self.teacher.grids[number], self._transform(number)
            patches = states.patches if transform is None else transform(states.patches)
            outputs[f"{TEACHER}{SUMMARY}.{number}.{self.column}"] = states.summary
            outputs[f"{TEACHER}{PATCHES}.{number}.{self.column}"] = patches.unflatten(1, grid)
        return outputs

    def encode(self, batch: Batch) -> Embeddings:
        outputs: Embeddings = {}
        for view in self.shown:
            teachers = [number for number, views in enumerate(self.taught) if view in views]
            for number, of_teacher in zip(teachers, self._adapted(batch[view], teachers), strict=True):
                outputs |= {f"{kind}.{number}.{view}": of_teacher[kind] for kind in of_teacher}
        return outputs

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ranks, terms = Ranks.present(), {kind: list[Tensor]() for kind in self.weights}
        self._errors = {}
        for number, views in enumerate(self.taught):
            summary, maps = (
                upcast(z[f"{TEACHER}{kind}.{number}.{self.column}"]) for kind in (SUMMARY, PATCHES)
            )
            errors = []
            for view in views:
                distances = cosine_distances(z[f"{SUMMARY}.{number}.{view}"], summary)
                terms[SUMMARY].append(moments.mean(distances, ranks=ranks) / len(views))
                ours = upcast(z[f"{PATCHES}.{number}.{view}"])
                rows, columns = min((ours.shape[1:3], maps.shape[1:3]), key=prod)
                grid = (rows, columns)
                squares = (resized(ours, grid) - resized(maps, grid)).square().mean((1, 2, 3))
                errors.append(moments.mean(squares, ranks=ranks) / len(views))
            terms[PATCHES] += errors
            variance = maps.detach().flatten(0, 2).var(0, correction=0).mean().clamp_min(1e-12)
            self._errors[f"error_{number + 1}"] = torch.stack(errors).sum().detach() / variance
        return {kind: self.weights[kind] * torch.stack(of_kind).sum() for kind, of_kind in terms.items()}

    def predicted(self, images: Float[Tensor, "B 3 H W"]) -> list[Mapping[str, Tensor]]:
        results: list[Mapping[str, Tensor]] = []
        for number, ours in enumerate(self._adapted(images, range(len(self.taught)))):
            transform, patches = self._transform(number), ours[PATCHES]
            results.append({**ours, PATCHES: patches if transform is None else transform.inverse(patches)})
        return results

    def numbers(self) -> dict[str, float]:
        # Squared errors in units of the variance in the batch of what is predicted.
        return {name: float(error) for name, error in self._errors.items()}

    def passes(self) -> dict[str, float]:
        student = sum(self.views[view].size ** 2 for view in self.shown)
        return {"image": student + len(self.teacher.names)}

    def passes_of_all(self) -> dict[str, float]:
        return {"image": len(self.teacher.names)} if len(self.transforms) else {}

    def _adapted(self, images: Float[Tensor, "B 3 H W"], teachers: Iterable[int]) -> list[dict[str, Tensor]]:
        """Return the outputs of the adaptors for some teachers, by kind."""
        summary, maps = self.image_tower.summary_and_patches(images)
        features = {SUMMARY: summary, PATCHES: maps.permute(0, 2, 3, 1)}
        return [{kind: self._adaptor(kind, number)(x) for kind, x in features.items()} for number in teachers]

    def _transform(self, number: int) -> PHIS | None:
        if not len(self.transforms):
            return None
        transform = self.transforms[number]
        assert isinstance(transform, PHIS)
        return transform

    def _adaptor(self, kind: str, number: int) -> nn.Module:
        of_kind = self.adaptors[kind]
        assert isinstance(of_kind, nn.ModuleList)
        return of_kind[number]

    def _smaller(self, sizes: str) -> dict[str, View]:
        """Return the views of less than the full size, which show what the full one does."""
        tower, smaller = self.image_tower, [size for size in shares(sizes) if size < 1]
        for size in smaller:
            tower.check_side(round(size * tower.size))
        (whole,) = paired({self.column: tower}).values()
        return {
            f"{self.column}.{size:g}": View(
                whole.modality, whole.augmentation, self.column, self.column, size
            )
            for size in smaller
        }


def shares(sizes: str) -> list[float]:
    """Read sizes of pictures.

    >>> shares("0.5+1")
    [0.5, 1.0]

    Raises:
        ValueError: for what are no different numbers above 0 and at most 1.
    """
    try:
        read = [float(size) for size in sizes.split("+")]
    except ValueError:
        read = []
    if not read or len({*read}) < len(read) or not all(0 < size <= 1 for size in read):
        raise ValueError(f"sizes={sizes!r}: give different shares of the tower's side, as in sizes=0.5+1")
    return read


def _adaptor(width: int, hidden: int, out: int | None) -> nn.Module:
    widths = () if out is None else (out,)
    if not hidden:
        return TargetHead(width, widths, bias=False)
    first = Linear(width, hidden, bias=True)
    return nn.Sequential(first, nn.LayerNorm(hidden), nn.GELU(), TargetHead(hidden, widths))

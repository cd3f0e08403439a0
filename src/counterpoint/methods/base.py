"""The method contract: how one batch becomes losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..modalities import MODALITIES, resolve
from ..networks.base import ImageTower, Input, TextTower, Tower
from ..networks.towers.pixels import fitted
from ..pairwise import Loss, Temperature
from ..raw import check_pictures
from ..registry import unknown
from ..types import Batch, Clock, Embeddings, Fit, ViewSpec

Ranges = Mapping[str, tuple[float, float]]
"""Options by name, each with the lowest and the highest value that a search may draw."""


class Method(nn.Module, ABC):
    """A method: the way from one batch to losses.

    ``encode`` works sample by sample and ``losses`` looks across samples, so that gradient caching,
    evaluation and use come for free. Heads with batch statistics belong in ``losses``.

    Attributes:
        views: which views of which modality a batch holds.
        heads: the embeddings a user can ask for; the first is the default.
        embeds: the modalities it has embeddings of.
        papers: the slugs of the papers it implements.
        tunable: the options that a search draws, log-uniformly where they are positive: loss weights, and the start of
            every scalar that a run learns.
        draws: ``losses`` draws from torch's generator, which the loop seeds at every step.
        earlier: of weights that an earlier version saved under another name, how the names began and begin today;
            nothing for weights that are not kept any more.
    """

    views: ViewSpec
    heads: tuple[str, ...] = ("global",)
    embeds: tuple[str, ...] = ("image", "text")
    papers: tuple[str, ...] = ()
    tunable: ClassVar[Ranges] = {}
    draws: ClassVar[bool] = False
    earlier: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def searched(cls, options: Mapping[str, object]) -> Ranges:
        """Return the options that a search draws where some options are given: those without effect are left out."""
        return cls.tunable

    @property
    def inputs(self) -> Mapping[str, Input]:
        """Return what makes the tensors of views from raw forms, by column."""
        return {}

    def targets(self, batch: Batch) -> Embeddings:
        """Outputs of frozen and momentum copies: once a step, without gradient, never replayed."""
        return {}

    @abstractmethod
    def encode(self, batch: Batch) -> Embeddings:
        """Features of every view, sample by sample."""

    @abstractmethod
    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """The named terms whose sum is minimised. ``z`` holds what ``targets`` and ``encode`` returned."""

    def after_step(self, z: Embeddings, batch: Batch, clock: Clock) -> None:
        """State that moves once per optimiser step: losses commit theirs; momentum copies, queues.

        ``z`` is detached.
        """
        _commit(self)

    @abstractmethod
    def embed(self, modality: str, inputs: Tensor | Sequence[str], head: str = "default") -> Tensor:
        """Unit-norm embeddings of raw inputs, for evaluation and for users."""

    def similarity(self, a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Return how well each of ``a`` goes with each of ``b``: the cosine, unless the method scores otherwise."""
        return a @ b.T

    def passes(self) -> dict[str, int]:
        """Return how often each tower runs per example and step: the honest unit of what a method costs."""
        counts: dict[str, int] = {}
        for view in self.views.values():
            counts[view.modality] = counts.get(view.modality, 0) + 1
        return counts


def _commit(module: nn.Module) -> None:
    """Commit each outermost loss once: a loss inside another one is the outer loss's business."""
    for child in module.children():
        if isinstance(child, Loss):
            child.commit()
        elif isinstance(child, Temperature):
            child.clamp_()
        else:
            _commit(child)


class TwoTower(Method):
    """A method with one tower per modality and heads into a shared space: the base of most methods here."""

    def __init__(self, image: ImageTower, text: TextTower) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({"image": image, "text": text})

    @property
    def image_tower(self) -> ImageTower:
        tower = self.towers["image"]
        assert isinstance(tower, ImageTower)
        return tower

    @property
    def text_tower(self) -> TextTower:
        tower = self.towers["text"]
        assert isinstance(tower, TextTower)
        return tower

    def tower(self, column: str) -> Tower:
        """Return the tower of a column."""
        tower = self.towers[column]
        assert isinstance(tower, Tower)
        return tower

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {column: self.tower(column).input for column in self.towers}

    def encode(self, batch: Batch) -> Embeddings:
        return {name: self.features(view.modality, batch[name]) for name, view in self.views.items()}

    def features(self, modality: str, inputs: Tensor) -> Tensor:
        """Return the feature vectors that the heads read: the tower's, of prepared pictures or token ids."""
        return self.towers[modality](inputs)

    @abstractmethod
    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        """One head's embedding of tower features (``losses`` uses the same heads), not yet normalised."""

    @torch.no_grad()
    def embed(self, modality: str, inputs: Tensor | Sequence[str], head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(n, d)`` of uint8 pictures ``(n, 3, H, W)`` or of texts.

        One text is a list of one: ``embed("text", "a cat")`` is ``(1, d)``.

        Raises:
            UnknownName: for a modality or a head the method does not have.
            ValueError: for inputs that are not of the modality, or for none.
        """
        if modality not in self.towers:
            raise unknown("modality", modality, self.towers)
        if modality not in self.embeds:
            raise ValueError(
                f"this model was trained on {self.embeds[0]}s alone: it has no {modality} embeddings"
            )
        head = self.heads[0] if head == "default" else head
        if head not in self.heads:
            raise unknown("head", head, self.heads)
        tower = self.tower(modality)
        raw = resolve(MODALITIES.get(tower.modality).check)(inputs)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            prepared = tower.input(raw.to(device) if isinstance(raw, Tensor) else raw).to(device)
            return F.normalize(self.project(modality, self.features(modality, prepared), head), dim=-1)
        finally:
            self.train(was_training)

    @torch.no_grad()
    def embed_patches(
        self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default"
    ) -> Float[Tensor, "n d h w"]:
        """Unit-norm embeddings of the places of pictures, to be compared with embeddings of phrases.

        The head is applied to the features of each place of the picture's central square, all of which is resized: a
        tower's own crop would leave out places that are asked for.

        Raises:
            UnknownName: for a head the method does not have.
            LookupError: if the image tower has no features of single places.
        """
        head = self.heads[0] if head == "default" else head
        if head not in self.heads:
            raise unknown("head", head, self.heads)
        pictures = check_pictures(pictures)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            size = self.image_tower.size
            maps = self.image_tower.patches(fitted(pictures.to(device), Fit(size, size)))
            places = self.project("image", maps.permute(0, 2, 3, 1).flatten(0, 2), head)
            grid = F.normalize(places, dim=-1).view(len(maps), *maps.shape[2:], -1)
            return grid.permute(0, 3, 1, 2)
        finally:
            self.train(was_training)

"""The method contract: how one batch becomes losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..networks.base import ImageTower, TextTower, fitted
from ..pairwise import Loss, Temperature
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


def check_pictures(pictures: object) -> Tensor:
    """Return pictures that can be embedded: uint8 ``(n, 3, H, W)``, n ≥ 1.

    Raises:
        ValueError: for anything else, with what it is and what would mend it.

    >>> check_pictures(torch.zeros(2, 20, 20, 3, dtype=torch.uint8))
    Traceback (most recent call last):
    ...
    ValueError: pictures must be (n, 3, H, W), got (2, 20, 20, 3): channels come second, pictures.permute(0, 3, 1, 2)
    """
    wanted = "pictures must be a uint8 tensor (n, 3, H, W)"
    if not isinstance(pictures, Tensor):
        raise ValueError(f"{wanted}, got {type(pictures).__name__}")
    shape = tuple(pictures.shape)
    if pictures.dtype != torch.uint8:
        raise ValueError(
            f"{wanted} of values from 0 to 255, got {pictures.dtype}: the model scales them itself"
        )
    if pictures.ndim != 4 or shape[1] != 3:
        advice = {
            (3, 0): ": of one picture, give picture[None]",
            (4, 3): ": channels come second, pictures.permute(0, 3, 1, 2)",
            (4, 1): ": repeat the grey channel, pictures.expand(-1, 3, -1, -1)",
            (4, 4): ": leave the alpha channel out, pictures[:, :3]",
        }
        case = (
            (3, 0)
            if pictures.ndim == 3
            else (4, 3 if shape[-1:] == (3,) else shape[1] if len(shape) == 4 else 0)
        )
        raise ValueError(f"pictures must be (n, 3, H, W), got {shape}{advice.get(case, '')}")
    if 0 in shape:
        raise ValueError(f"there is nothing to embed: the pictures are {shape}")
    return pictures


def check_texts(texts: object) -> list[str]:
    """Return texts that can be embedded, of one text a list of it.

    Raises:
        ValueError: for anything else, and for none.

    >>> check_texts("a cat")
    ['a cat']
    >>> check_texts(["a cat", None])
    Traceback (most recent call last):
    ...
    ValueError: text 1 must be a text, got NoneType
    """
    if isinstance(texts, Tensor | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts must be a list of texts, or one text, got {type(texts).__name__}")
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError("there is nothing to embed: the list of texts is empty")
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"text {place} must be a text, got {type(text).__name__}")
        try:
            text.encode()
        except (
            UnicodeEncodeError
        ):  # half of a UTF-16 pair, as broken decoding leaves it, which no tokenizer takes
            raise ValueError(
                f"text {place} is no valid Unicode: {text!r}; decode it with errors='replace'"
            ) from None
    return found


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
        inputs = check_pictures(inputs) if modality == "image" else check_texts(inputs)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            if isinstance(inputs, Tensor):
                prepared = self.image_tower.prepare(inputs.to(device))
            else:
                prepared = self.text_tower.tokenizer(inputs).to(device)
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

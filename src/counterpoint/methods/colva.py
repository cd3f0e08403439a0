"""CoLVA: objects in a frozen expert's features are matched with the same objects among a speaking model's tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from ..forms import Count
from ..networks.base import Towers
from ..networks.heads import Linear, TargetHead
from ..networks.towers.maps import MapSquare
from ..networks.towers.parts.regions import grid
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import Maps
from ..recipes.schema import Recipe
from ..registry import load
from ..types import Batch, Embeddings, StepInfo, View
from ._speaking import SpeakingMethod
from .frozen import Frozen, frozen
from .needs import Needs
from .tower_method import TowerMethod, paired

OWN = "own."
"""Prefix of the names of the speaking model's vectors of objects."""


class CoLVA(TowerMethod):
    """Each object of one picture finds itself among the objects of another one by raw inner products.

        a_k = mean over object k of A(f(picture)),   t_k = mean over object k of the speaking model's tokens
        L = mean over objects k of both pictures of −log [ exp(a_k · t'_k) / Σ_j exp(a_k · t'_j) ]

    f is the expert, the tower of pictures, and A the adapter: layer normalisation, a linear layer, GELU and a linear
    layer. t' are of the other picture of the row. The expert and the speaking model are frozen, and A alone learns.
    There is no normalisation and no temperature. Objects are the classes of the maps but the first, background: an
    object has one number in both maps of a row. Objects that one of the maps lacks are left out. Masks are brought to
    the grid of places bilinearly and hold where they exceed 0.55; a mask that holds nowhere is the place that it covers
    most.

    In use pairs of pictures are compared object by object (`match`). The second stage of the paper, in which vectors of
    objects stand among the tokens of conversations, is not here.

    Args:
        towers: that of pictures, and that of maps, of which the input alone is used.
        recipe: unused: the adapter is as wide as the speaking model.
        model: the speaking model, a run of ``sft`` with a token for each place (``bridge=linear``).
        hidden: width between the linear layers; the paper has that of the speaking model.

    Raises:
        ValueError: for maps of numbers or of fewer than two objects, and for a model that cannot be read, does not
            speak, takes pictures of another size, or has no token for each place.
        LookupError: for a picture tower without features of patches.

    Source: Zhou et al., "Are They the Same? Exploring Visual Correspondence Shortcomings of Multimodal LLMs" (2025),
    arXiv 2501.04670, and its code, zhouyiks/CoLVA.
    """

    family = "local features"
    papers = ("colva",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(4, 4, modalities=("image", "image", "map", "map"))

    def __init__(self, towers: Towers, recipe: Recipe, *, model: str, hidden: Count = 128) -> None:
        super().__init__(towers)
        one, other, *self.maps = towers
        self.pictures = (one, other)
        first = self.maps[0]
        given = towers[first].input
        if not isinstance(given, MapSquare) or len(given.classes) < 3:
            raise ValueError(
                f"colva compares objects, and the maps of {first} have fewer than two classes of them"
            )
        self.count = len(given.classes) - 1
        views = paired(towers)
        for column, like in zip(self.maps, self.pictures, strict=True):
            views[column] = View("map", views[column].augmentation, column, like=like)
        self.views = views
        self.use_input_alone(*self.maps)
        expert = self.image_tower
        grid(expert)
        expert.requires_grad_(False)
        self.model_name = model
        self.models: Frozen = frozen("model", model, self.picture_size)
        widths = tuple(_checked(each, model).language.width for each in self.models)
        self.adapter = nn.Sequential(
            nn.LayerNorm(expert.width), Linear(expert.width, hidden), nn.GELU(), TargetHead(hidden, widths)
        )

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.pictures

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        """Return the speaking model's vectors of the objects of both pictures."""
        pairs = zip(self.pictures, self.maps, strict=True)
        return {OWN + column: self._own(batch[column], batch[objects]) for column, objects in pairs}

    def encode(self, batch: Batch) -> Embeddings:
        shown = {objects: present(batch[objects].long(), self.count).float() for objects in self.maps}
        pairs = zip(self.pictures, self.maps, strict=True)
        return {column: self._adapted(batch[column], batch[objects]) for column, objects in pairs} | shown

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        both = (z[self.maps[0]] > 0) & (z[self.maps[1]] > 0)
        terms = torch.cat(
            [
                -_logits(z[column], z[OWN + other], both).log_softmax(2).diagonal(dim1=1, dim2=2)
                for column, other in (self.pictures, self.pictures[::-1])
            ]
        )
        weights = both.repeat(2, 1).flatten().to(terms.dtype)
        return {"colva": moments.mean(terms.flatten(), weights, ranks=Ranks.present())}

    def passes(self) -> dict[str, float]:
        return {"image": 2 * super().passes()["image"]}

    @torch.no_grad()
    def match(
        self,
        pictures: UInt8[Tensor, "n 2 3 H W"],
        maps: UInt8[Tensor, "n 2 H W"],
        *,
        own: bool = False,
    ) -> Float[Tensor, "n k k"]:
        """Return inner products of objects of the first picture with those of the second; −∞ where one is missing.

        Args:
            pictures: pairs.
            maps: of each, the numbers of objects; 0 is background.
            own: vectors of the speaking model on both sides; else those of the expert on the first.
        """
        made, given = self.inputs[self.pictures[0]], self.inputs[self.maps[0]]
        assert isinstance(given, MapSquare)
        device = next(self.parameters()).device
        seen = [made(pictures[:, side]).to(device) for side in range(2)]
        objects = [given(Maps(maps[:, side], given.classes)).to(device) for side in range(2)]
        was_training = self.training
        self.eval()
        try:
            first = (self._own if own else self._adapted)(seen[0], objects[0])
            scores = upcast(first) @ upcast(self._own(seen[1], objects[1])).mT
        finally:
            self.train(was_training)
        shown = [present(each.long(), self.count) for each in objects]
        return scores.masked_fill(~(shown[0][:, :, None] & shown[1][:, None]), -torch.inf)

    def _adapted(self, pictures: Tensor, maps: Tensor) -> Float[Tensor, "B k d"]:
        features = self.image_tower.patches(pictures).permute(0, 2, 3, 1)
        return pool_objects(self.adapter(features).permute(0, 3, 1, 2), maps.long(), self.count)

    def _own(self, pictures: Tensor, maps: Tensor) -> Float[Tensor, "B k d"]:
        # A trained method is read again without the model, and needs it to match objects.
        self.models = self.models or (load("counterpoint.models:load")(self.model_name).eval(),)
        speaker = _checked(self.models[0], self.model_name).to(pictures).speaker
        tokens = speaker.given(speaker.patches(pictures)).tokens
        places = tokens.mT.reshape(len(tokens), tokens.shape[2], *speaker.bridge.grid)
        return pool_objects(places, maps.long(), self.count)


def _checked(model: TowerMethod, name: str) -> SpeakingMethod:
    if not isinstance(model, SpeakingMethod):
        raise ValueError(f"model={name!r} writes no replies; name a run of sft")
    bridge = model.speaker.bridge
    if bridge.tokens != bridge.grid[0] * bridge.grid[1]:
        raise ValueError(f"model={name!r} has no token for each place; name a run with bridge=linear")
    return model


def _logits(
    anchors: Float[Tensor, "B k d"], targets: Float[Tensor, "B k d"], both: Bool[Tensor, "B k"]
) -> Float[Tensor, "B k k"]:
    """Return inner products; an object that is missing is a target of itself alone, so that no row is empty."""
    itself = torch.eye(both.shape[1], dtype=torch.bool, device=both.device)
    return (upcast(anchors) @ upcast(targets).mT).masked_fill(~both[:, None] & ~itself, -torch.inf)


def present(maps: Int[Tensor, "B H W"], count: int) -> Bool[Tensor, "B k"]:
    """Return which of the objects 1 to ``count`` maps have.

    >>> present(torch.tensor([[[0, 2], [2, 255]]]), 3).tolist()
    [[False, True, False]]
    """
    return (maps[:, None] == torch.arange(1, count + 1, device=maps.device)[:, None, None]).flatten(2).any(2)


def pool_objects(
    features: Float[Tensor, "B d h w"], maps: Int[Tensor, "B H W"], count: int, threshold: float = 0.55
) -> Float[Tensor, "B k d"]:
    """Return the mean of features over the places of each object; 0 for an object that a map lacks.

    Args:
        features: of places.
        maps: the number of the object at each pixel.
        count: of objects, from 1.
        threshold: above which a mask that is brought to the grid of places holds.

    >>> features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> pool_objects(features, torch.tensor([[[0, 1], [0, 1]]]), 2)[0].round(decimals=2).tolist()
    [[3.0], [0.0]]
    """
    masks = maps[:, None] == torch.arange(1, count + 1, device=maps.device)[:, None, None]
    places = features.shape[2:]
    inside = F.interpolate(masks.to(features.dtype), size=places, mode="bilinear").flatten(2) > threshold
    covered = F.adaptive_avg_pool2d(masks.to(features.dtype), (places[0], places[1])).flatten(2)
    most = F.one_hot(covered.argmax(2), covered.shape[2]) > 0
    thin = masks.flatten(2).any(2) & ~inside.any(2)
    weights = torch.where(thin[..., None], most, inside).to(features.dtype)
    return weights @ features.flatten(2).mT / (weights.sum(2, keepdim=True) + 1e-4)

"""ALPRO: the fused patches of a crop name what a model of contrast alone sees in the crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ..forms import Count, Fraction, NonNegative, Positive, Share
from ..modalities import PAIR_PASSES
from ..networks.base import ImageTower, TextTower, Towers
from ..networks.fusion.concat_encoder import ConcatEncoder
from ..networks.heads import Linear
from ..networks.masking import drawn_for_batch
from ..networks.towers.parts.pixels import fitted
from ..networks.towers.parts.regions import grid
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import check_pictures
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Fit, StepInfo, Target
from ._matching import PATCHES, WORDS
from .albef import ALBEF
from .base import Ranges
from .frozen import Frozen, frozen
from .tower_method import TowerMethod, scale_of

PSEUDO, NAMED, CROP = "pseudo.", "named.", "crop."
"""Prefixes of the names of the prompter's labels, of what the fused patches name, and of the patches of a crop."""
_AREA, _ASPECT = (0.3, 0.5), (0.3, 3.33)
"""The least and greatest area of a crop, as a share of the picture, and the ratio of its height to its width."""


class ALPRO(ALBEF):
    """`ALBEF` without a copy and a queue, whose fused patches name the entities of a random crop.

        q_e    = softmax_e(c · p_e / τ),   c = prompter(the crop alone), p_e = mean of prompter(prompts of entity e)
        L_name = −mean Σ_e q_e log softmax_e(MLP(mean of the fused patches in the crop)),   where max q ≥ threshold
        L      = contrast · L_contrast + matching · L_match + words · L_words + naming · L_name

    Stage one is the prompter: a run with contrast alone on the same data, ``clip`` say, which stays as it is. τ is its
    own. It sees the crop in its place in an otherwise black picture. Stage two is this method, which sees the whole
    picture and its text: words and patches attend to each other in one stream. Entities are the names of a label with
    tags, by default ``nouns``, the most frequent of the captions; no row's own tags are read. A crop has 30 to 50 % of
    the picture, at the borders of patches; one without a whole patch in a direction gets one.

    `name_maps` names each patch beside an empty text. The text of a row may say what the crop shows: with
    ``text_free=true`` entities are named beside an empty text in training, too.

    Args:
        towers: of pictures, with features of patches, and of texts, read both ways.
        recipe: as for `ALBEF`.
        prompter: a run with towers of pictures and of texts.
        target: the label whose names the entities are.
        entities: at most, the first of the label (the paper: 1,000).
        prompts: texts with ``{}`` in the place of an entity, with + between them.
        threshold: the largest probability below which a crop is left out.
        naming: weight of L_name.
        text_free: names entities beside an empty text.
        permuted: each crop gets the label of another row's. The control.
        contrast, matching, words, hidden, depth, temperature: as for `ALBEF`.

    Raises:
        ValueError: for a prompter that cannot be read or lacks a tower, without a label, for a prompt without ``{}``,
            and as `ALBEF`.
        LookupError: for an image tower without features of patches.

    Source: Li et al., "Align and Prompt: Video-and-Language Pre-training with Entity Prompts" (2021), arXiv 2112.09583,
    and its code. There the threshold is compared with the index of the most probable entity, not its probability.
    Pictures stand for videos of one frame.
    """

    family = "fusion"
    papers = ("alpro",)
    learns = ("tags",)
    default_label: ClassVar[str] = "nouns"
    consults: ClassVar[bool] = True
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        prompter: str,
        target: Target | None = None,
        entities: Count = 1000,
        prompts: str = "a {}+a picture of a {}",
        threshold: Fraction = 0.2,
        naming: NonNegative = 1.0,
        text_free: bool = False,
        permuted: bool = False,
        contrast: NonNegative = 1.0,
        matching: NonNegative = 1.0,
        words: NonNegative = 1.0,
        hidden: Share = 0.15,
        depth: Count = 2,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(
            towers,
            recipe,
            contrast=contrast,
            matching=matching,
            words=words,
            alpha=0.0,
            queue=0,
            hidden=hidden,
            depth=depth,
            fusion="concat",
            temperature=temperature,
        )
        if target is None:
            raise ValueError("alpro names entities: name a label with tags, --labels nouns")
        templates = prompts.split("+")
        if broken := [template for template in templates if "{}" not in template]:
            raise ValueError(f"the prompt {broken[0]!r} has no {{}} in the place of the entity")
        self.target, self.entities = target, target.classes[:entities]
        self.threshold, self.naming, self.text_free, self.permuted = threshold, naming, text_free, permuted
        width = self.text_tower.width
        self.entity_head = nn.Sequential(
            Linear(width, 2 * width, bias=True), nn.ReLU(), Linear(2 * width, len(self.entities), bias=True)
        )
        self.joint.requires_grad_(bool(matching or words or naming))
        self.entity_head.requires_grad_(bool(naming))
        self.register_buffer("blank", self.text_tower.tokenizer([""]), persistent=False)
        self._named = 0.0
        self.prompter: Frozen = frozen("prompter", prompter, self.picture_size)
        for model in self.prompter:
            try:
                picture, text = (column_of(model, kind) for kind in (ImageTower, TextTower))
            except LookupError as error:
                raise ValueError(f"prompter={prompter!r}: {error}; name a run of clip") from None
            texts = [template.replace("{}", name) for name in self.entities for template in templates]
            of_texts = model.embed(text, texts).view(len(self.entities), len(templates), -1)
            self._prompted, self._shown = of_texts.mean(1), picture

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the patches of the crops."""
        batch = super().prepare(batch, clock)
        rows, columns = grid(self.image_tower)
        crop = drawn_for_batch(
            len(batch), batch.ids.device, lambda examples: crops(examples, rows, columns).flatten(1)
        )
        return replace(batch, views={**batch.views, CROP + self.picture: crop})

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        """Return the prompter's probabilities of entities in crops that it sees alone."""
        (model,) = self.prompter
        pictures = batch[self.picture]
        crop = batch[CROP + self.picture].view(len(batch), 1, *grid(self.image_tower)).to(pictures)
        alone = pictures * F.interpolate(crop, (pictures.shape[2], pictures.shape[3]))
        c = model.to(pictures).embed_prepared(self._shown, alone)
        scale, _ = scale_of(model) or (1 / 0.07, None)
        q = (scale * c @ self._prompted.to(c).T).softmax(1)
        self._named = float((q.amax(1) >= self.threshold).double().mean()) if len(q) else 0.0
        return {PSEUDO + self.picture: q.roll(1, 0) if self.permuted else q}

    def encode(self, batch: Batch) -> Embeddings:
        z = super().encode(batch)
        if self.naming:
            patches = z[PATCHES + self.picture]
            states = self.fused_patches(None if self.text_free else z[WORDS + self.text], patches)
            inside = batch[CROP + self.picture].to(states)[..., None]
            z[NAMED + self.picture] = self.entity_head((states * inside).sum(1) / inside.sum(1))
        return z

    def fused_patches(
        self, words: Float[Tensor, "B L W"] | None, patches: Float[Tensor, "B P V"]
    ) -> Float[Tensor, "B P W"]:
        """Return the states of patches beside words, or beside an empty text."""
        assert isinstance(self.joint, ConcatEncoder)
        if words is None:
            words = self.text_tower.states(self.get_buffer("blank")).expand(len(patches), -1, -1)
        return self.joint.both(words, patches)[1]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = super().losses(z, batch, clock)
        if self.naming:
            q = upcast(z[PSEUDO + self.picture])
            wrong = -(q * upcast(z[NAMED + self.picture]).log_softmax(1)).sum(1)
            sure = (q.amax(1) >= self.threshold).to(wrong)
            losses["naming"] = self.naming * moments.mean(wrong, sure, ranks=Ranks.present())
        return losses

    @torch.no_grad()
    def name_maps(self, pictures: UInt8[Tensor, "n 3 H W"], names: Sequence[str]) -> Float[Tensor, "n k h w"]:
        """Return the probability of each name at each patch, beside an empty text.

        A name stands for the entity whose words it holds, the longest of several; one that holds none has 0.

        Args:
            pictures: of any size.
            names: that are looked for.
        """
        number = [entity_of(name, self.entities) for name in names]
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            size = self.image_tower.size
            maps = self.image_tower.patches(fitted(check_pictures(pictures).to(device), Fit(size, size)))
            logits = self.entity_head(self.fused_patches(None, maps.flatten(2).mT))
            p = F.pad(logits.softmax(2), (0, 1))[..., number]  # −1 is the last, which is 0
            return p.mT.reshape(len(maps), len(names), *maps.shape[2:])
        finally:
            self.train(was_training)

    def numbers(self) -> dict[str, float]:
        # Near 0 hardly a crop has a label.
        return {"named_crops": self._named}

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        passes["image"] += 1  # the prompter's
        passes[PAIR_PASSES] += bool(self.naming)
        return passes


def crops(count: int, rows: int, columns: int) -> Bool[Tensor, "count rows columns"]:
    """Draw boxes of patches, each with a share of the grid and a ratio of its sides, as `ALPRO` says.

    Sizes and corners are rounded down to whole patches.

    >>> int(crops(1, 8, 8).sum(0).any(1).sum()) > 0
    True
    """
    area, aspect, top, left = torch.rand(4, count).unbind()
    area = _AREA[0] + area * (_AREA[1] - _AREA[0])
    aspect = _ASPECT[0] + aspect * (_ASPECT[1] - _ASPECT[0])
    masks = []
    for side, corner, length in (
        ((area * aspect).sqrt(), top, rows),
        ((area / aspect).sqrt(), left, columns),
    ):
        size = (side * length).floor().clamp(1, length)
        first = (corner * (length - size + 1)).floor()[:, None]
        position = torch.arange(length)
        masks.append((position >= first) & (position < first + size[:, None]))
    return masks[0][:, :, None] & masks[1][:, None]


def entity_of(phrase: str, entities: Sequence[str]) -> int:
    """Return the number of the longest of some entities whose words a phrase holds; −1 for none.

    >>> entity_of("a red fire engine", ["fire", "fire engine", "red"]), entity_of("a cat", ["car"])
    (1, -1)
    """
    words = f" {phrase.lower()} "
    held = [number for number, name in enumerate(entities) if f" {name.lower()} " in words]
    return max(held, key=lambda number: len(entities[number]), default=-1)


def column_of(model: TowerMethod, kind: type[ImageTower | TextTower]) -> str:
    """Return the first column of a model whose tower is of a kind.

    Raises:
        LookupError: for a model without one.
    """
    towers: Mapping[str, object] = {column: model.tower(column) for column in model.columns}
    for column, tower in towers.items():
        if isinstance(tower, kind):
            return column
    raise LookupError(f"{type(model).__name__} has no tower of the modality {kind.modality}")

"""SigLIP 2: the sigmoid loss, a decoder of captions and boxes, and late self-distillation and masked patches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count, Finite, Fraction, NonNegative, Positive, Share
from ..losses import SigLIPLoss
from ..networks import MomentumCopy
from ..networks.base import ImageTower, Towers
from ..networks.box_words import box_words
from ..networks.caption_decoder import CaptionDecoder
from ..networks.heads import Linear
from ..networks.masking import drawn_for_batch, gather_patches, hidden_patches, masked_grid, random_patches
from ..networks.state.momentum import PREFIX
from ..networks.towers.parts.pooling import inside
from ..networks.towers.parts.regions import grid
from ..networks.towers.transformer import Embedding
from ..pairwise import Temperature, moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import DualEncoder, linear_heads
from .needs import Needs

CAPTION, REFER, GROUND = range(3)
"""Tasks of the decoder: the text; the boxes behind the text; the text behind the boxes."""
_TASKS = 3
TASK, PARALLEL, LIKELIHOOD = "task.", "parallel.", "likelihood."
"""Prefixes of what bears the name of the texts, the task of each row and which rows are predicted at once; and of what
bears that of the boxes, the likelihood of what is asked."""
GLOBAL, LOCAL, HIDDEN = "global.", "local.", "hidden."
"""Prefixes of what bears the name of the pictures: the view of the teacher, crops, and masked patches."""
_WHOLE, _PART = (0.4, 1.0), (0.05, 0.4)
"""The least and greatest share of the picture that the teacher's view and a crop show."""
_SHARP, _SOFT, _CENTRE = 0.04, 0.1, 0.9
"""Temperatures of teacher and student, and the momentum of the teacher's mean outputs."""


class SigLIP2(DualEncoder):
    """`SigLIP` with a decoder that reads and writes boxes as words, and two losses more in the last part of a run.

        L = L_siglip + captioning · L_decoder + [in the last part] distil · L_distil + masked · L_masked
        caption:  −log p(text | patches)              word by word, or all at once with the probability ``parallel``
        refer:    −log p(boxes | patches, text)       ground:  −log p(text | patches, boxes)
        L_distil = −mean over crops Σ_k softmax_k((g'(f'(view)) − c)/0.04) log softmax_k(g(f(crop))/0.1)
        L_masked = the same of each masked patch of the student's view, with heads and means of their own

    Each row has one of the three tasks of the decoder: refer and ground with the probability ``grounding`` together,
    and caption without a box. The likelihood is the mean over the tokens of a batch. A box is four words, the bins of
    left, top, right and bottom, and boxes follow in the order of the column. f' and the heads g' are a slow copy, which
    begins as the student when the last part does. Only the tower of pictures has one, and embeddings have no part in
    both losses. c are running means of the copy's outputs. The copy sees a large part of the picture, and the student
    small crops at half the side, or the same view with half of the patches behind a mask token. Pictures of the other
    losses are not cut.

    Args:
        towers: of pictures, with features of patches, of texts, and of boxes, of which the input alone is used.
        recipe: gives the width of the embedding and the pairs of a step.
        captioning: weight of L_decoder; the paper has 1.
        grounding: the probability of refer and ground together; with 0 there are captions alone.
        parallel: the probability that a caption is predicted at once.
        depth: blocks of the decoder; the paper has half of those of the tower of texts.
        bins: of a coordinate.
        most_boxes: of a picture; others are left out.
        distil, masked: weights; the paper has 1 and 0.25, multiplied by 0.25 for its smallest towers.
        last: the share of the run that these are part of.
        crops: of a picture, that the student sees.
        hidden: the share of patches behind the mask token.
        outputs: of the heads of both losses.
        momentum: of the copy.
        temperature, bias: as for `SigLIP`.

    Raises:
        LookupError: for an image tower without features of patches.
        ValueError: with ``masked`` for an image tower that cannot leave patches out.

    Source: Tschannen et al., "SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding,
    Localization, and Dense Features" (2025), arXiv 2502.14786, from memory: no code of the training is published. The
    shapes of the heads, both temperatures, the shares of views and the choice of a task are not confirmed; they are
    those of SILC, DINO and LocCa as far as known. Towers here pool by the mean, and data selection and several
    resolutions are left out.
    """

    family = "two towers"
    papers = ("siglip-2",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "text", "boxes"))
    asks: ClassVar[Mapping[str, str]] = {"masked": "takes_masks"}
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3), "bias": (-12.0, 0.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        captioning: NonNegative = 1.0,
        grounding: Fraction = 2 / 3,
        parallel: Fraction = 0.5,
        depth: Count = 2,
        bins: Count = 32,
        most_boxes: Count = 8,
        distil: NonNegative = 0.25,
        masked: NonNegative = 0.0625,
        last: Share = 0.2,
        crops: Count = 4,
        hidden: Share = 0.5,
        outputs: Count = 256,
        momentum: Fraction = 0.99,
        temperature: Positive = 0.1,
        bias: Finite | None = None,
    ) -> None:
        picture, text, self.boxes = towers
        pair = {picture: towers[picture], text: towers[text]}
        bias = SigLIPLoss.balanced_bias(recipe.batch_size) if bias is None else bias
        super().__init__(
            towers,
            linear_heads(pair, recipe.widths.embedding),
            SigLIPLoss(Temperature(temperature), bias=bias),
            "siglip",
            order=(picture, text),
        )
        self.picture, self.text = picture, text
        self.use_input_alone(self.boxes)
        tower, tokenizer = self.image_tower, self.text_tower.tokenizer
        self.weights = {"decoder": captioning, "distil": distil, "masked": masked}
        self.grounding, self.parallel, self.bins, self.most_boxes = grounding, parallel, bins, most_boxes
        self.last, self.crops, self.share_hidden = last, crops, hidden
        first = tokenizer(["a", "b"])[:, 0]
        self.skipped = int(first[0] == first[1])
        self.grid, width = grid(tower), tower.width
        self.positions = Embedding(math.prod(self.grid), width, std=0.02)
        self.decoder = CaptionDecoder(
            tokenizer.vocabulary + bins + _TASKS,
            1 + tokenizer.context + 4 * most_boxes,
            width,
            depth,
            heads=math.gcd(width, 4),
        )
        self.decoder.requires_grad_(bool(captioning))
        self.positions.requires_grad_(bool(captioning))
        self.extra_heads = nn.ModuleDict()
        self.teacher: MomentumCopy | None = None
        if masked:
            masked_grid(tower)
            self.extra_heads["masked"] = _head(width, outputs)
            self.mask_token = Embedding(1, width, std=0.02)
        if distil:
            self.extra_heads["distil"] = _head(width, outputs)
        if distil or masked:
            self.register_buffer("centres", torch.zeros(2, outputs))
            name = self.columns[picture]
            self.teacher = MomentumCopy(
                nn.ModuleDict({"tower": self.towers[name], "heads": self.extra_heads}), momentum
            )

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the tasks of the decoder and, in the last part of a run, views, crops and masks."""
        device, views = batch.ids.device, dict(batch.views)
        drawn = drawn_for_batch(len(batch), device, lambda examples: torch.rand(examples, 3))
        task = torch.where(drawn[:, 0] < self.grounding, 1 + (drawn[:, 1] < 0.5).long(), CAPTION)
        has_box = ~batch[self.boxes].isnan().any(-1).all(-1)
        has_box &= (~batch[self.boxes].isnan().any(-1))[:, : self.most_boxes].any(1)
        views[TASK + self.text] = task = torch.where(has_box, task, CAPTION)
        views[PARALLEL + self.text] = (drawn[:, 2] < self.parallel) & (task == CAPTION)
        begins = math.ceil((1 - self.last) * clock.steps)
        if self.teacher is not None and clock.step >= begins:
            if clock.step == begins:
                self.teacher.restart()
            views |= self._further_views(batch[self.picture])
        return replace(batch, views=views)

    def _further_views(self, pictures: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        side, count = pictures.shape[3], self.crops
        patches = math.prod(self.grid)
        visible = max(round((1 - self.share_hidden) * patches), 1)
        drawn = drawn_for_batch(
            len(pictures), pictures.device, lambda examples: torch.rand(examples, count + 1, 4)
        )
        index = drawn_for_batch(
            len(pictures), pictures.device, lambda examples: random_patches(examples, self.grid, visible)
        )
        parts = [cropped(pictures, drawn[:, k], _PART, side // 2) for k in range(count)]
        return {
            GLOBAL + self.picture: cropped(pictures, drawn[:, count], _WHOLE, side),
            LOCAL + self.picture: torch.stack(parts, 1),
            HIDDEN + self.picture: index,
        }

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        view = batch.views.get(GLOBAL + self.picture)
        if view is None or self.teacher is None:
            return {}
        copy = self.teacher.module
        tower, heads = copy.get_submodule("tower"), copy.get_submodule("heads")
        assert isinstance(tower, ImageTower)
        z = {}
        if self.weights["distil"]:
            z[PREFIX + self.picture] = heads.get_submodule("distil")(tower(view))
        if self.weights["masked"]:
            every = torch.arange(math.prod(self.grid), device=view.device).expand(len(view), -1)
            # All patches are visible to the copy.
            patches = tower.encode_visible(view, every).patches
            z[PREFIX + HIDDEN + self.picture] = self._of_hidden(heads, patches, batch)
        return z

    def encode(self, batch: Batch) -> Embeddings:
        maps = self.image_tower.patches(batch[self.picture])
        z = {
            self.picture: self.features(self.picture, batch[self.picture]),
            self.text: self.features(self.text, batch[self.text]),
        }
        if self.weights["decoder"]:
            z[LIKELIHOOD + self.boxes] = self._likelihood(maps.flatten(2).mT + self.positions.weight, batch)
        view = batch.views.get(GLOBAL + self.picture)
        if view is None:
            return z
        if self.weights["distil"]:
            crops = batch[LOCAL + self.picture]
            of_crops = self.features(self.picture, crops.flatten(0, 1))
            outputs: Tensor = self.extra_heads["distil"](of_crops)
            z[LOCAL + self.picture] = outputs.view(*crops.shape[:2], -1)
        if self.weights["masked"]:
            index, token = batch[HIDDEN + self.picture], self.mask_token.weight[0]
            states = self.image_tower.encode_visible(view, index, token)
            z[HIDDEN + self.picture] = self._of_hidden(self.extra_heads, states.patches, batch)
        return z

    def _of_hidden(
        self, heads: nn.Module, patches: Float[Tensor, "B n W"], batch: Batch
    ) -> Float[Tensor, "B m K"]:
        """Return the outputs of a head for the patches that the student does not see."""
        hidden = hidden_patches(batch[HIDDEN + self.picture], patches.shape[1])
        return heads.get_submodule("masked")(gather_patches(patches, hidden))

    def _likelihood(self, states: Float[Tensor, "B P W"], batch: Batch) -> Float[Tensor, "B 2"]:
        """Return the log-likelihood of what each row asks for, and the number of its tokens."""
        sequence, asked = self.spoken(batch[self.text], batch[self.boxes], batch[TASK + self.text])
        at_once, likelihood = batch[PARALLEL + self.text], states.new_zeros(len(states), 2)
        for parallel, rows in ((True, at_once), (False, ~at_once)):
            (index,) = rows.nonzero(as_tuple=True)
            of_rows = self.decoder.log_likelihood(sequence[index], asked[index], states[index], parallel)
            likelihood = likelihood.to(of_rows.dtype).index_copy(0, index, of_rows)
        return likelihood

    def spoken(
        self, text: Int[Tensor, "B L"], boxes: Float[Tensor, "B k 4"], task: Int[Tensor, " B"]
    ) -> tuple[Int[Tensor, "B n"], Bool[Tensor, "B n"]]:
        """Return the tokens of each row's task: its sign, what is given and what is asked; and which are asked.

        The bins of boxes have the ids behind the vocabulary of texts, and the signs of tasks those behind these.
        """
        tokenizer = self.text_tower.tokenizer
        words = text[:, self.skipped :]
        has_word = inside(words, tokenizer.end)
        corners, has_corner = box_words(boxes[:, : self.most_boxes], self.bins)
        has_corner = has_corner & (task != CAPTION)[:, None]
        sign = (tokenizer.vocabulary + self.bins + task)[:, None]
        tokens = torch.cat([sign, words, tokenizer.vocabulary + corners], 1)
        refers, grounds = (task == REFER)[:, None], (task == GROUND)[:, None]
        asked = torch.cat([torch.zeros_like(refers), has_word & ~refers, has_corner & refers], 1)
        order = torch.cat(
            [
                torch.zeros_like(sign),
                torch.where(has_word, 1 + grounds.long(), 3),
                torch.where(has_corner, 2 - grounds.long(), 3),
            ],
            1,
        )
        index = order.argsort(dim=1, stable=True)[:, : self.decoder.length]
        return tokens.gather(1, index), asked.gather(1, index)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses, ranks = super().losses(z, batch, clock), Ranks.present()
        if LIKELIHOOD + self.boxes in z:
            summed, count = z[LIKELIHOOD + self.boxes].unbind(1)
            mean = moments.mean(-summed / count.clamp_min(1), count.detach(), ranks=ranks)
            losses["decoder"] = self.weights["decoder"] * mean
        for number, (term, own, other) in enumerate(
            (("distil", LOCAL, PREFIX), ("masked", HIDDEN, PREFIX + HIDDEN))
        ):
            if own + self.picture in z:
                said, taught = upcast(z[own + self.picture]), upcast(z[other + self.picture])
                taught = taught if taught.ndim == 3 else taught[:, None]
                target = ((taught - self.get_buffer("centres")[number].to(taught)) / _SHARP).softmax(-1)
                wrong = -(target * (said / _SOFT).log_softmax(-1)).sum(-1).mean(1)
                losses[term] = self.weights[term] * moments.mean(wrong, ranks=ranks)
        return losses

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.teacher is None or GLOBAL + self.picture not in batch.views:
            return
        for number, name in enumerate((PREFIX, PREFIX + HIDDEN)):
            if name + self.picture in z:
                outputs = z[name + self.picture]
                mean = moments.mean(outputs if outputs.ndim == 2 else outputs.mean(1), ranks=Ranks.present())
                centre = self.get_buffer("centres")[number]
                centre.lerp_(mean.to(centre), 1 - _CENTRE)
        self.teacher.update()

    def passes(self) -> dict[str, float]:
        passes = {"image": 1.0, "text": 1.0}
        crops = self.crops / 4 if self.weights["distil"] else 0.0
        further = crops + 2 * bool(self.weights["masked"]) + bool(self.weights["distil"])
        return {**passes, "image": 1 + self.last * further}


def cropped(
    pictures: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 4"], shares: tuple[float, float], side: int
) -> Float[Tensor, "B 3 s s"]:
    """Return a square part of each picture, resized bilinearly, half of them mirrored.

    Args:
        pictures: to cut from.
        drawn: uniform numbers: of the share, the two places and the mirror.
        shares: the least and the greatest of the picture.
        side: of the result.

    >>> picture = torch.arange(4.0).expand(1, 3, 4, 4)
    >>> cropped(picture, torch.tensor([[1.0, 0.0, 0.0, 0.9]]), (0.25, 1.0), 4)[0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    share, left, top, mirror = drawn.to(pictures).unbind(1)
    length = (shares[0] + share * (shares[1] - shares[0])).sqrt()
    across, zero = torch.where(mirror < 0.5, -length, length), torch.zeros_like(length)
    x, y = ((1 - length) * (2 * corner - 1) for corner in (left, top))
    boxes = torch.stack([torch.stack([across, zero, x], 1), torch.stack([zero, length, y], 1)], 1)
    points = F.affine_grid(boxes, [len(pictures), 3, side, side], align_corners=False)
    return F.grid_sample(pictures, points, align_corners=False, padding_mode="border")


def _head(width: int, outputs: int) -> nn.Sequential:
    """Return a perceptron to the outputs that the teacher and the student agree in."""
    return nn.Sequential(
        Linear(width, 2 * width, bias=True), nn.GELU(), nn.LayerNorm(2 * width), Linear(2 * width, outputs)
    )

"""dBOT: masked autoencoders of a teacher's features, whose student becomes the next teacher and starts anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import BelowOne, Count, Positive
from ..networks import tune
from ..networks.base import Towers
from ..networks.decoder import MaskedDecoder
from ..networks.heads import TargetHead
from ..networks.init import initialise, redraw
from ..networks.masking import (
    MaskKind,
    draw_visible,
    drawn_for_batch,
    gather_patches,
    hidden_patches,
    masked_grid,
    visible_count,
)
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from .base import ONCE
from .frozen import Teacher
from .needs import Needs
from .tower_method import TowerMethod, paired

TEACHER = "teacher."
"""Prefix of the names of the teacher's outputs."""


class DBOT(TowerMethod):
    """A masked autoencoder that predicts a frozen teacher's features, in stages.

        t_i = (g(x)_i − mean) / √(var + 1e-6),   over the channels of each patch, g the teacher
        L   = mean SmoothL1(d(f(x_S))_i, t_i; β),   over the hidden patches and the summary of the picture

    f sees the visible patches S alone, and the decoder d sees mask tokens in the places of the others; the teacher sees
    the whole picture. As a stage begins, the student becomes the teacher, and student, decoder and optimiser start
    anew. (The released code keeps the optimiser's moments.) The first teacher is the student's own random start unless
    one is given. With ``stages=1`` this is masked distillation. A user gets the tower's own features.

    Args:
        towers: the image tower, by its column.
        recipe: gives the pictures that a given teacher sees at a time.
        teacher: of the first stage: a run, or an image tower with its weights; a random one unless given.
        stages: parts of the run of equal length, each with its teacher.
        hidden: the share of patches that the student does not see.
        mask: how they are drawn.
        decoder_width, decoder_layers: of the decoder, which has four attention heads.
        beta: where the loss turns from quadratic to linear.

    Raises:
        ValueError: for a tower that cannot leave patches out or has weights to start from, masks that hide nothing or
            everything, and a teacher that cannot be read or has other patches.

    Source: Liu et al., "Exploring Target Representations for Masked Autoencoders" (2022), arXiv 2209.03917, and its
    code. There targets are taken before the teacher's last norm; here they are taken behind it, which differs by the
    norm's learned scale and shift. The paper's summary is a class token. A tower without one is read as the mean of its
    patches.
    """

    family = "images"
    papers = ("dbot",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    asks: ClassVar[Mapping[str, str]] = {"": "takes_masks"}
    draws = True
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str = "",
        stages: Count = 2,
        hidden: BelowOne = 0.75,
        mask: MaskKind = "random",
        decoder_width: Count = 64,
        decoder_layers: Count = 1,
        beta: Positive = 2.0,
    ) -> None:
        super().__init__(towers)
        ((self.column, _),) = towers.items()
        tower = self.image_tower
        if tower.pretrained:
            raise ValueError(
                f"dbot draws its tower anew; name {tower.name.partition('@')[0]} without weights"
            )
        if not hidden:
            raise ValueError("hidden=0 leaves nothing to predict: hide more")
        self.views = paired(towers)
        self.grid, self.mask, self.beta = masked_grid(tower), mask, beta
        self.visible = visible_count(self.grid[0] * self.grid[1], hidden)
        self.first_teacher = Teacher("teacher", teacher, tower, recipe.microbatch) if teacher else None
        self.teacher = copy.deepcopy(tower)
        tune(self.teacher, "frozen")
        self.decoder = MaskedDecoder(tower.width, self.grid, decoder_width, decoder_layers)
        moving = ("towers", "decoder")
        if stages > 1 or self.first_teacher is None:
            self.head = TargetHead(decoder_width, (tower.width,))
        first = "head"
        if self.first_teacher is not None:
            self.first_teacher.check_grid(self.grid)
            self.first_head, first = TargetHead(decoder_width, self.first_teacher.widths), "first_head"
        names = [str(number) for number in range(1, stages + 1)]
        self.stages = tuple(Stage(n, 1.0, (*moving, first if n == "1" else "head")) for n in names)
        self._taught_by_given = False
        self._spread = torch.zeros(())

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Let the student be the teacher and start anew, in every stage but the first."""
        if clock.stage == self.stages[0].name:
            return
        self.teacher.load_state_dict(self.image_tower.state_dict())
        seed = int(torch.randint(2**31, ()))  # the same on every rank
        redraw(self.image_tower, seed)
        initialise(self.decoder, seed, "decoder")
        initialise(self.head, seed, "head")

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the visible patches."""
        first = len(self.stages) == 1 or clock.stage == self.stages[0].name
        self._taught_by_given = first and self.first_teacher is not None

        def draw(examples: int) -> Tensor:
            return draw_visible(self.mask, examples, self.grid, self.visible)

        index = drawn_for_batch(len(batch), batch.ids.device, draw)
        return replace(batch, views={**batch.views, f"{self.column}.visible": index})

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        images = batch[self.column]
        if self._taught_by_given:
            assert self.first_teacher is not None
            (states,) = self.first_teacher(images)
        else:
            every = torch.arange(self.grid[0] * self.grid[1], device=images.device)
            states = self.teacher.encode_visible(images, every.expand(len(images), -1))
        self._spread = states.patches.detach().std(1).mean()
        return {f"{TEACHER}{self.column}": standardised(self._tokens(batch, states.summary, states.patches))}

    def encode(self, batch: Batch) -> Embeddings:
        index = batch[f"{self.column}.visible"]
        states = self.image_tower.encode_visible(batch[self.column], index)
        decoded = self._tokens(batch, *self.decoder(states.summary, states.patches, index))
        return {self.column: (self.first_head if self._taught_by_given else self.head)(decoded)}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        predicted, target = upcast(z[self.column]), upcast(z[f"{TEACHER}{self.column}"])
        terms = F.smooth_l1_loss(predicted, target, reduction="none", beta=self.beta)
        return {"dbot": moments.mean(terms.mean((1, 2)), ranks=Ranks.present())}

    def numbers(self) -> dict[str, float]:
        # Near 0 the teacher says the same of all patches, and its standardised features are noise.
        return {"teacher_spread": float(self._spread)}

    def passes(self) -> dict[str, float]:
        seen = self.visible / (self.grid[0] * self.grid[1])
        return {modality: count * (1 + seen) for modality, count in super().passes().items()}

    def _tokens(
        self, batch: Batch, summary: Float[Tensor, "B width"], patches: Float[Tensor, "B n width"]
    ) -> Float[Tensor, "B m width"]:
        """Return the states that the loss is on: of the summary and of the hidden patches."""
        hidden = hidden_patches(batch[f"{self.column}.visible"], patches.shape[1])
        return torch.cat([summary[:, None], gather_patches(patches, hidden)], 1)


def standardised(states: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Return states with mean 0 and variance 1 over their channels.

    >>> standardised(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1.0000,  0.0000,  1.0000]])
    """
    variance, mean = torch.var_mean(states, -1, keepdim=True)
    return (states - mean) / (variance + 1e-6).sqrt()
